"""Which decoder a model gets; nothing here needs a GPU."""

from __future__ import annotations

import importlib.util
import shutil
from typing import Any

import pytest
import torch

from qwen_ui.engines import decoding
from qwen_ui.engines.decoder import ForwardDecoder
from qwen_ui.engines.decoding import make_decoder, resolve_decoding
from qwen_ui.errors import ModelFailed

TEXT = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "hidden_size": 2560}
DENSE: dict[str, Any] = {"model_type": "qwen3_vl", "text_config": TEXT}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU, Triton and a compiler."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(decoding, "_triton", lambda: "triton 3.6.0")


def resolved(
    asked: str = "auto", device: str = "cuda", quantization: str = "none", **changed: Any
) -> str:
    text = changed.pop("text", {})
    config = DENSE | {"text_config": TEXT | text} | changed
    return resolve_decoding("m", asked, config, device, quantization)


def test_a_dense_model_on_a_gpu_gets_our_kernels() -> None:
    assert resolved().startswith("triton ")
    assert resolved(device="cuda:1").startswith("triton ")
    assert resolved(quantization="fp8, unpacked").startswith("triton ")


@pytest.mark.parametrize(
    "changed",
    [
        {"device": "cpu"},
        {"device": "mps"},
        {"model_type": "qwen3_vl_moe"},
        {"quantization": "torchao-int8 0.14"},
        {"quantization": "fp8, kernels 1"},
        {"quantization": "awq"},
        {"text": {"hidden_act": "gelu"}},
        {"text": {"attention_bias": True}},
    ],
    ids=str,
)
def test_what_no_graph_fits_decodes_by_the_models_own_forward(changed: dict[str, Any]) -> None:
    assert resolved(**changed) == "eager"
    for asked in ("graph", "triton"):
        with pytest.raises(ModelFailed, match=f"--decoding {asked} cannot be had: "):
            resolved(asked, **changed)


def test_a_model_that_may_lie_on_several_gpus_has_no_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolved() == "eager"
    assert resolved(device="cuda:0").startswith("triton ")
    with pytest.raises(ModelFailed, match="--device cuda:0"):
        resolved("graph")


@pytest.mark.parametrize("text", [{"head_dim": 96}, {"head_dim": 8}, {"num_key_value_heads": 1}])
def test_heads_that_our_kernels_do_not_fit_get_a_graph_of_torchs(text: dict[str, int]) -> None:
    assert resolved(text=text).startswith("graph ")


@pytest.mark.parametrize("missing", ["triton", "compiler"])
def test_without_what_builds_kernels_there_is_a_graph_of_torchs(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "triton":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    assert resolved().startswith("graph ")
    with pytest.raises(ModelFailed, match=missing):
        resolved("triton")


def test_a_way_that_was_asked_for_is_taken() -> None:
    assert resolved("eager") == "eager"
    assert resolved("graph").startswith("graph ")


def test_a_changed_step_is_another_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolved("graph")
    monkeypatch.setattr(decoding, "_STEP", decoding._STEP + 1)
    assert resolved("graph") != before


def test_another_version_of_what_builds_our_kernels_is_another_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = resolved("triton"), resolved("graph")
    monkeypatch.setattr(decoding, "_triton", lambda: "triton 3.7.0")
    assert resolved("triton") != before[0]
    assert resolved("graph") == before[1]


def test_eager_is_the_models_own_forward() -> None:
    decoder, short_chunks = make_decoder("eager", object())
    assert isinstance(decoder, ForwardDecoder)
    assert short_chunks is None
