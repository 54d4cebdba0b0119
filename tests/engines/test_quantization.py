"""Weights of eight bits: another identity, the same kind of answers, less memory."""

from __future__ import annotations

from pathlib import Path

import pytest

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
