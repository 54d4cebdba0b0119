"""Weights of eight bits: another identity, the same kind of answers, less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qwen_ui.engines import quantization
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.quantization import (
    UNPACKED,
    quantization_options,
    resolve_quantization,
)
from qwen_ui.errors import ModelFailed
from qwen_ui.types import Message
from tests.engines.tiny import FP8, as_published_in_fp8, ask, picture, save_tiny


def test_without_quantization_nothing_is_needed_or_told() -> None:
    assert resolve_quantization("m", "none", {}, "cpu") == "none"
    assert quantization_options("none", {}) == {}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "installed", lambda package: None)
    with pytest.raises(ModelFailed, match="pip install torchao"):
        resolve_quantization("m", "torchao-int8", {}, "cpu")


def test_what_is_quantized_already_is_not_quantized_again() -> None:
    with pytest.raises(ModelFailed, match=r"already \(fp8\); leave out --quantization"):
        resolve_quantization("m", "torchao-int8", FP8, "cpu")
    awq = {"quantization_config": {"quant_method": "awq"}}
    assert resolve_quantization("m", "none", awq, "cuda") == "awq"
    assert quantization_options("awq", awq) == {}


@pytest.mark.parametrize(
    ("device", "capability", "kernels", "expected"),
    [
        ("cpu", (0, 0), "0.14", UNPACKED),
        ("cuda", (8, 6), "0.14", UNPACKED),
        ("cuda:0", (9, 0), None, UNPACKED),
        ("cuda:0", (8, 9), "0.14", "fp8, kernels 0.14"),
    ],
)
def test_fp8_is_unpacked_unless_the_gpu_computes_in_it_and_its_kernels_are_here(
    device: str,
    capability: tuple[int, int],
    kernels: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(quantization, "installed", {"kernels": kernels}.get)
    assert resolve_quantization("m", "none", FP8, device) == expected


def test_it_is_part_of_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny(tmp_path)
    monkeypatch.setattr(quantization, "installed", lambda package: "1.0")

    def fingerprint(asked: str) -> str:
        placement = Placement(device="cpu", quantization=asked)
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


@pytest.mark.parametrize("dtype", ["auto", "float32", "float16"])
def test_a_model_published_in_fp8_is_unpacked_where_no_gpu_computes_in_it(
    tmp_path: Path, dtype: str
) -> None:
    plain = save_tiny(tmp_path / "plain", dtype="bfloat16")
    packed = as_published_in_fp8(save_tiny(tmp_path / "fp8", dtype="bfloat16"))
    spec = resolve_spec("m", packed, "1", Placement(device="cpu", dtype=dtype), source="tests")
    assert spec.quantization == UNPACKED
    engine = load_engine(spec, packed, lambda fraction: None)
    layers = engine._machine.model.model.language_model.layers
    wanted = load_file(plain / "model.safetensors")[
        "model.language_model.layers.0.mlp.up_proj.weight"
    ]
    got = layers[0].mlp.up_proj.weight
    assert got.dtype == getattr(torch, spec.dtype)
    parameters = engine._machine.model.parameters()
    assert spec.weight_bytes == sum(parameter.nbytes for parameter in parameters)
    assert (got - wanted).abs().max() < wanted.abs().max() / 16  # e4m3 has four bits of a number
    assert not torch.equal(got, wanted)
    heard = ask(engine, Message("user", (picture(), "What is this?")), max_tokens=12)
    engine.close()
    assert heard.completion.completion_tokens == 12
