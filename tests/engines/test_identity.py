"""Who a model is: what changes an answer changes the fingerprint; what does not, does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qwen_ui.engines import identity
from qwen_ui.engines.base import EngineSpec, Sampling
from qwen_ui.engines.chunks import CHUNK_TOKENS
from qwen_ui.engines.identity import Placement, resolve_spec, weights_digest
from qwen_ui.engines.loader import load_engine
from qwen_ui.errors import ModelFailed
from qwen_ui.types import SamplingParams
from tests.engines.tiny import save_tiny


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def fingerprint(folder: Path, placement: Placement = Placement(device="cpu")) -> str:
    revision = weights_digest(folder, folder.parent / "memo.json")
    return resolve_spec("tiny", folder, revision, placement, source=str(folder)).fingerprint()


def edit(file: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))

    return apply


def flip_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


SMALL = {"shortest_edge": 1024, "longest_edge": 4096}
CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": flip_a_weight,
    "config": edit("config.json", lambda c: c.update(image_token_id=1)),
    "template": lambda folder: (folder / "chat_template.jinja").write_text("other"),
    "pixel limits": edit(
        "preprocessor_config.json",
        lambda c: c.update(size={"shortest_edge": 1024, "longest_edge": 4096}),
    ),
    "picture mean": edit("preprocessor_config.json", lambda c: c.update(image_mean=[0, 0, 0])),
    "tokenizer": edit("tokenizer.json", lambda c: c.update(version="2.0")),
    "tokens that end an answer": edit("generation_config.json", lambda c: c.update(eos_token_id=7)),
    "a newer place of the picture settings": lambda folder: shutil.copy(
        folder / "preprocessor_config.json", folder / "processor_config.json"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_another_model(folder: Path, change: str) -> None:
    before = fingerprint(folder)
    CHANGES[change](folder)
    assert fingerprint(folder) != before


@pytest.mark.parametrize(
    "placement",
    [
        Placement(device="cpu", dtype="bfloat16"),
        Placement(device="cpu", attention="eager"),
        Placement(device="cpu", max_pixels=64 * 96),
        Placement(device="cpu", min_pixels=64 * 65),
    ],
)
def test_another_placement_is_another_model(folder: Path, placement: Placement) -> None:
    assert fingerprint(folder, placement) != fingerprint(folder)


def test_other_chunks_of_a_prefill_are_another_model(folder: Path) -> None:
    spec = resolve_spec("tiny", folder, "r", Placement(device="cpu"), source="")
    assert spec.chunk_tokens == CHUNK_TOKENS
    assert replace(spec, chunk_tokens=64).fingerprint() != spec.fingerprint()


@pytest.mark.parametrize("package", ["PIL", "tokenizers", "torch", "transformers"])
def test_another_version_of_what_computes_is_another_model(
    folder: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(folder)
    monkeypatch.setattr(getattr(identity, package), "__version__", "9.9.9")
    assert fingerprint(folder) != before


def test_so_is_another_version_of_flash_attention_where_that_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spec(attention: str, version: str) -> EngineSpec:
        monkeypatch.setattr(identity, "installed", lambda package: version)
        placement = Placement(device="cpu", attention=attention)
        return resolve_spec("tiny", folder, "r", placement, source="")

    assert spec("flash_attention_2", "2.8") != spec("flash_attention_2", "2.9")
    assert spec("sdpa", "2.8") == spec("sdpa", "2.9")


def test_a_processor_that_was_saved_in_one_file_is_read(folder: Path) -> None:
    before = resolve_spec("tiny", folder, "r", Placement(device="cpu"), source="")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    after = resolve_spec("tiny", folder, "r", Placement(device="cpu"), source="")
    assert (after.min_pixels, after.max_pixels) == (before.min_pixels, before.max_pixels)
    load_engine(after, folder, lambda fraction: None).close()


def test_each_gpu_is_named_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Tesla T4", "L4"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda one: names[torch.device(one).index])
    assert identity._kernels("cuda:1").startswith("1 L4, CUDA")
    assert identity._kernels("cuda:0").startswith("1 Tesla T4, CUDA")


def test_a_gpu_that_is_not_there_is_a_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelFailed, match="there is no cuda:1 here; the first one is cuda:0"):
        resolve_spec("tiny", folder, "r", Placement(device="cuda:1"), source="")


def test_a_cpu_that_multiplies_otherwise_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    before = identity._kernels("cpu")
    told["avx512_bf16"] = True
    assert identity._kernels("cpu") != before


def test_where_the_folder_lies_does_not_matter(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    assert fingerprint(Path(shutil.move(folder, tmp_path / "moved"))) == before


def test_the_number_of_threads_is_part_of_the_kernels(folder: Path) -> None:
    before, threads = fingerprint(folder), torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert fingerprint(folder) != before
    finally:
        torch.set_num_threads(threads)


def test_unchanged_weights_are_not_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = folder.parent / "memo.json"
    first = weights_digest(folder, memo)
    monkeypatch.setattr("qwen_ui.engines.identity.digest_files", lambda files: "read again")
    assert weights_digest(folder, memo) == first
    flip_a_weight(folder)
    assert weights_digest(folder, memo) == "read again"


def test_a_damaged_memo_only_costs_reading(folder: Path) -> None:
    memo = folder.parent / "memo.json"
    first = weights_digest(folder, memo)
    memo.write_text("{half")
    assert weights_digest(folder, memo) == first


def test_a_setting_lowers_the_pixel_limit_but_never_raises_it(folder: Path) -> None:
    def most(pixels: int) -> int:
        placement = Placement(device="cpu", max_pixels=pixels)
        return resolve_spec("t", folder, "r", placement, source="").max_pixels

    assert (most(64 * 96), most(10**7)) == (64 * 96, 128 * 128)


def test_the_loader_obeys(folder: Path) -> None:
    placement = Placement(device="cpu", dtype="bfloat16", attention="eager", max_pixels=64 * 96)
    spec = resolve_spec("tiny", folder, "r", placement, source=str(folder))
    heard: list[float] = []
    engine = load_engine(spec, folder, heard.append)
    try:
        assert engine._machine.model.dtype is torch.bfloat16
        assert engine._machine.model.config._attn_implementation == "eager"
        assert dict(engine._machine.processor.image_processor.size) == {
            "shortest_edge": 64 * 64,
            "longest_edge": 64 * 96,
        }
        assert torch.get_default_dtype() is torch.float32
        assert heard[-1] == 1.0
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (edit("config.json", lambda c: c.update(model_type="llama")), "not a Qwen3-VL"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
    ],
)
def test_a_folder_that_is_no_model_is_a_clear_error(
    folder: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(folder)
    with pytest.raises(ModelFailed, match=says):
        resolve_spec("tiny", folder, "r", Placement(device="cpu"), source="")


@pytest.mark.parametrize(
    ("device", "says"), [("cuda", "no CUDA device"), ("toaster", "no device called toaster")]
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_a_clear_error(folder: Path, device: str, says: str) -> None:
    with pytest.raises(ModelFailed, match=says):
        resolve_spec("tiny", folder, "r", Placement(device=device), source="")


def test_damaged_weights_are_a_clear_error(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")
    spec = resolve_spec("tiny", folder, "r", Placement(device="cpu"), source="")
    with pytest.raises(ModelFailed, match="tiny"):
        load_engine(spec, folder, lambda fraction: None)


def test_greedy_has_one_spelling() -> None:
    default = Sampling(temperature=1.0, top_p=0.9, top_k=20, seed=0)
    asked = SamplingParams(temperature=0.0, top_p=0.3, seed=5)
    assert Sampling.resolve(asked, default) == Sampling()
    assert Sampling.resolve(SamplingParams(seed=3), default) == replace(default, seed=3)
