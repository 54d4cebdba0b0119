"""Whether a model fits, told before anything is unloaded for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen_ui.engines.base import EngineSpec
from qwen_ui.engines.memory import Memory, _host, check_fits, in_the_way, look, weight_bytes
from qwen_ui.engines.quantization import NONE, UNPACKED
from qwen_ui.engines.scripted import scripted_spec
from qwen_ui.errors import ModelFailed

GB = 10**9


def spec(name: str, gigabytes: float, device: str = "cuda") -> EngineSpec:
    return replace(scripted_spec(name), weight_bytes=int(gigabytes * GB), device=device)


def test_a_model_that_cannot_fit_is_refused_in_one_clear_sentence() -> None:
    with pytest.raises(ModelFailed) as caught:
        check_fits(spec("big", 17.5), Memory(2 * GB, 8 * GB))
    assert str(caught.value) == (
        "The model big cannot be loaded: its weights take 17.5 GB and cuda has room for 8.0 GB;"
        " choose a smaller one"
    )


@pytest.mark.parametrize("capability", [(8, 6), (9, 0)])
def test_where_packing_would_help_the_sentence_says_so(
    capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    packed = replace(spec("big", 17.5), quantization=UNPACKED)
    with pytest.raises(ModelFailed) as caught:
        check_fits(packed, Memory(2 * GB, 8 * GB))
    assert str(caught.value).endswith("keeps this one in FP8") == (capability == (9, 0))


def test_what_fits_or_cannot_be_told_is_not_refused() -> None:
    check_fits(spec("fits when alone", 7.9), Memory(1 * GB, 8 * GB))
    check_fits(spec("unknown size", 0), Memory(0, 0))
    check_fits(spec("unknown memory", 900), None)


@pytest.mark.parametrize(
    ("free", "keep", "expected"),
    [
        (30, 3, None),
        (30, 2, "old"),  # no more than two
        (9, 3, "old"),  # too little beside them
        (8.9, 3, "old"),  # the weights alone would fit, and nothing could be asked
    ],
)
def test_the_least_recently_used_goes_when_there_are_enough_or_memory_is_short(
    free: float, keep: int, expected: str | None
) -> None:
    loaded = {"old": spec("old", 8), "new": spec("new", 8)}
    memory = Memory(int(free * GB), 40 * GB)
    assert in_the_way(spec("wanted", 8.8), loaded, keep, memory) == expected


def test_only_a_model_on_the_same_device_is_in_the_way() -> None:
    loaded = {"host": spec("host", 1, "cpu"), "gpu": spec("gpu", 8)}
    assert in_the_way(spec("wanted", 8), loaded, 3, Memory(GB, 16 * GB)) == "gpu"
    del loaded["gpu"]
    assert in_the_way(spec("wanted", 8), loaded, 3, Memory(GB, 16 * GB)) is None


def test_a_model_of_another_server_neither_goes_nor_makes_another_go() -> None:
    remote = replace(spec("remote", 0), remote=True)
    short = Memory(0, 16 * GB)
    assert in_the_way(remote, {"ours": spec("ours", 8)}, 1, short) is None
    assert in_the_way(spec("wanted", 8), {"remote": remote}, 1, short) is None
    both = {"remote": remote, "ours": spec("ours", 8)}
    assert in_the_way(spec("wanted", 8), both, 2, None) is None
    assert in_the_way(spec("wanted", 8), both, 1, None) == "ours"


def test_without_figures_only_the_number_of_models_counts() -> None:
    loaded = {"one": spec("one", 8)}
    assert in_the_way(spec("two", 8), loaded, 2, None) is None
    assert in_the_way(spec("two", 8), loaded, 1, None) == "one"


def test_mapped_weights_are_not_free_and_our_own_memory_comes_back() -> None:
    found = _host({"MemAvailable": 10 * GB}, {"RssFile": 4 * GB, "RssAnon": 3 * GB})
    assert found == Memory(6 * GB, 13 * GB)
    assert _host({}, {}) is None


def test_this_machine_tells_its_memory() -> None:
    if not Path("/proc/meminfo").is_file():
        pytest.skip("not Linux")
    memory = look("cpu")
    assert memory is not None
    assert 0 < memory.free < memory.most
    assert look("mps") is None


def test_a_gpu_counts_what_the_allocator_keeps_but_does_not_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (3 * GB, 24 * GB))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 20 * GB)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 18 * GB)
    assert look("cuda:1") == Memory(5 * GB, 23 * GB)
    assert look("cuda") == Memory(10 * GB, 46 * GB)


CONFIG: dict[str, Any] = {"dtype": "bfloat16", "text_config": {}}


@pytest.mark.parametrize(
    ("config", "dtype", "quantization", "expected"),
    [
        (CONFIG, "bfloat16", NONE, 100),
        (CONFIG, "float32", NONE, 200),
        ({"text_config": {"dtype": "float32"}}, "bfloat16", NONE, 50),
        ({"text_config": {}}, "float32", NONE, 100),
        (CONFIG, "bfloat16", "torchao-int8 1", 50),
        ({**CONFIG, "quantization_config": {}}, "bfloat16", "fp8, kernels 1", 100),
    ],
)
def test_what_weights_take_in_the_type_that_they_are_loaded_in(
    tmp_path: Path, config: dict[str, Any], dtype: str, quantization: str, expected: int
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    assert weight_bytes("m", tmp_path, config, dtype, quantization) == expected


def test_the_size_is_known_before_the_weights_are_here(tmp_path: Path) -> None:
    name = "Qwen/Qwen3-VL-2B-Instruct"
    assert weight_bytes(name, tmp_path, CONFIG, "bfloat16", NONE) == 4_255_064_064
    assert weight_bytes("org/other", tmp_path, CONFIG, "bfloat16", NONE) == 0
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 77}}))
    assert weight_bytes(name, tmp_path, CONFIG, "bfloat16", NONE) == 77
    index.write_text("{half")
    assert weight_bytes(name, tmp_path, CONFIG, "bfloat16", NONE) == 4_255_064_064
