"""Weights of eight bits: another identity, the same kind of answers, less memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.quantization import quantization_options, resolve_quantization
from qwen_ui.errors import ModelFailed
from qwen_ui.types import Message
from tests.engines.tiny import ask, picture, save_tiny


def test_without_quantization_nothing_is_needed_or_told() -> None:
    assert resolve_quantization("m", "none") == "none"
    assert quantization_options("none") == {}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("qwen_ui.engines.quantization.version", missing)
    with pytest.raises(ModelFailed, match="pip install torchao"):
        resolve_quantization("m", "torchao-int8")


def test_it_is_part_of_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny(tmp_path)
    monkeypatch.setattr("qwen_ui.engines.quantization.version", lambda name: "1.0")

    def fingerprint(quantization: str) -> str:
        placement = Placement(device="cpu", quantization=quantization)
        return resolve_spec("m", folder, "1", placement, source="tests").fingerprint()

    assert fingerprint("torchao-int8") != fingerprint("none")


@pytest.mark.filterwarnings("ignore")  # the package's own, of its other kernels
def test_a_quantized_model_answers_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="an extra")
    folder = save_tiny(tmp_path, dtype="bfloat16")
    placement = Placement(device="cpu", quantization="torchao-int8")
    spec = resolve_spec("m", folder, "1", placement, source="tests")
    engine = load_engine(spec, folder, lambda fraction: None)
    layer = engine._machine.model.model.language_model.layers[0].self_attn.q_proj
    assert type(layer.weight).__name__ == "Int8Tensor"
    question = Message("user", (picture(), "What is this?"))
    answers = [ask(engine, question, max_tokens=12) for _ in range(2)]
    engine.close()
    assert answers[0].completion.completion_tokens == 12
    assert answers[0].text == answers[1].text


def _as_published_in_fp8(folder: Path) -> Path:
    """Its text's matrices as Qwen's FP8 models have them: e4m3 in blocks, with a scale a block."""
    weights = load_file(folder / "model.safetensors")
    block = 16
    for name in [n for n in weights if "language_model.layers" in n and n.endswith("proj.weight")]:
        rows, columns = (side // block for side in weights[name].shape)
        blocks = weights[name].float().reshape(rows, block, columns, block)
        scales = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        fp8 = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
        weights[name] = fp8.reshape(rows * block, columns * block)
        weights[f"{name}_scale_inv"] = scales
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [block, block],
        "modules_to_not_convert": ["lm_head", "model.visual"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_model_published_in_fp8_is_unpacked_where_no_gpu_computes_in_it(tmp_path: Path) -> None:
    plain = save_tiny(tmp_path / "plain", dtype="bfloat16")
    packed = _as_published_in_fp8(save_tiny(tmp_path / "fp8", dtype="bfloat16"))
    spec = resolve_spec("m", packed, "1", Placement(device="cpu"), source="tests")
    engine = load_engine(spec, packed, lambda fraction: None)
    layers = engine._machine.model.model.language_model.layers
    wanted = load_file(plain / "model.safetensors")[
        "model.language_model.layers.0.mlp.up_proj.weight"
    ]
    got = layers[0].mlp.up_proj.weight
    assert got.dtype == torch.bfloat16
    assert (got - wanted).abs().max() < wanted.abs().max() / 16  # e4m3 has four bits of a number
    assert not torch.equal(got, wanted)
    heard = ask(engine, Message("user", (picture(), "What is this?")), max_tokens=12)
    engine.close()
    assert heard.completion.completion_tokens == 12
