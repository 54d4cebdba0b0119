"""What only a GPU can show: reuse under each way of decoding, moves to host memory, memory that is
short. On random weights of odd sizes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qwen_ui.engines import split_attention, static_decoder
from qwen_ui.engines.decoder import ForwardDecoder
from qwen_ui.engines.quantization import UNPACKED, resolve_quantization
from qwen_ui.engines.split_attention import HIDDEN, PARTS, attended_parts, joined
from qwen_ui.engines.static_decoder import StaticDecoder
from qwen_ui.engines.transformers import Budgets, TransformersEngine
from qwen_ui.errors import OutOfMemory
from tests.engines.conversations import (
    CONVERSATIONS,
    answered,
    by,
    cold,
    nothing_changes,
    open_engine,
    user,
)
from tests.engines.test_video_reuse import CONVERSATIONS as VIDEOS
from tests.engines.tiny import FP8, as_published_in_fp8, ask, picture, save_tiny

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what builds kernels
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]

GPU = "cuda:0"
LENGTH = 64  # keys of a part


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"), video=True)


@pytest.fixture(
    scope="module",
    params=[
        (way, dtype)
        for way in ("eager", "graph", "triton")
        for dtype in ("float32", "bfloat16", "float16")
    ],
    ids="-".join,
)
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[TransformersEngine]:
    way, dtype = request.param
    opened = open_engine(folder, dtype, device=GPU, decoding=way)
    assert opened.spec.decoding.startswith(way)
    yield opened
    opened.close()


def test_whatever_was_asked_before_an_answer_is_that_of_a_cold_engine(
    engine: TransformersEngine,
) -> None:
    asked = CONVERSATIONS | VIDEOS
    wanted = {name: cold(engine, messages) for name, messages in asked.items()}
    assert nothing_changes(engine, wanted, asked) > len(asked)


def test_prompts_that_were_moved_to_host_memory_change_no_bit(
    engine: TransformersEngine,
) -> None:
    wanted = {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}
    budgets, engine._budgets = engine._budgets, Budgets(device_prefixes=0)
    try:
        engine.forget()
        for name in (*CONVERSATIONS, *reversed(CONVERSATIONS)):
            assert answered(engine, CONVERSATIONS[name]) == wanted[name], name
        assert engine._known.prefixes.device_bytes == 0
        assert engine._known.prefixes.host_bytes > 0
    finally:
        engine._budgets = budgets
        engine.forget()


def test_the_logits_are_those_of_the_models_own_forward(engine: TransformersEngine) -> None:
    if engine.spec.dtype != "float32":
        pytest.skip("compared where rounding is small")
    for name, messages in CONVERSATIONS.items():
        wanted = by(engine, ForwardDecoder(engine._machine.model), messages)
        found = answered(engine, messages)
        assert found.ids == wanted.ids, name
        torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-3, atol=1e-3)


def test_an_answer_that_outgrows_its_buffer_goes_on(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(engine._decoder, StaticDecoder):
        pytest.skip("it has no buffer of its own")
    monkeypatch.setattr(static_decoder, "SMALLEST", 16)
    monkeypatch.setattr(split_attention, "PARTS", 2)
    engine._decoder.release()
    captured, original = list[int](), engine._decoder._captured

    def noted(tokens: int) -> object:
        captured.append(tokens)
        return original(tokens)

    monkeypatch.setattr(engine._decoder, "_captured", noted)
    first = {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}
    assert len(captured) > 1
    for name in reversed(CONVERSATIONS):
        assert answered(engine, CONVERSATIONS[name]) == first[name], name
    engine._decoder.release()


@pytest.mark.parametrize("filled", [1, LENGTH - 1, LENGTH, LENGTH + 1, PARTS * LENGTH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention_in_parts_is_that_of_the_cpu(filled: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(filled)
    query = torch.randn(2, 3, 16, generator=generator).to(dtype)
    keys, values = torch.randn(2, PARTS * LENGTH, 2, 16, generator=generator).to(dtype)
    mask = torch.where(torch.arange(PARTS * LENGTH) >= filled, HIDDEN, 0.0).to(dtype)
    wanted = joined(*attended_parts(query, keys, values, mask, 0.25))
    query, keys, values, mask = (given.cuda() for given in (query, keys, values, mask))
    found = joined(*attended_parts(query, keys, values, mask, 0.25)).cpu()
    near = 1e-3 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(found, wanted, rtol=near, atol=near)


def test_a_full_card_is_told_and_the_engine_goes_on(folder: Path) -> None:
    engine = open_engine(folder, "bfloat16", device=GPU)
    messages = (user(picture(4, (128, 128)), "What is this?"),)
    before = ask(engine, *messages).text
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    engine._make_room()
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)
    try:
        hog = [torch.empty(2**16, dtype=torch.uint8, device=GPU) for _ in range(1)]
        while True:
            try:
                hog.append(torch.empty(2**16, dtype=torch.uint8, device=GPU))
            except torch.OutOfMemoryError:
                break
        engine.forget()
        failed = ask(engine, *messages).failure
        assert isinstance(failed.error, OutOfMemory)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    del hog
    assert ask(engine, *messages).text == before
    engine.close()


def test_a_model_published_in_fp8_is_unpacked_and_decodes_as_any_other(tmp_path: Path) -> None:
    if resolve_quantization("m", "none", FP8, GPU) != UNPACKED:
        pytest.skip("the package kernels is here")
    packed = as_published_in_fp8(save_tiny(tmp_path, dtype="bfloat16"))
    engines = [open_engine(packed, "bfloat16", device=device) for device in ("cpu", GPU)]
    assert engines[1].spec.decoding.startswith("triton")
    of_cpu, of_gpu = (engine._machine.model.state_dict() for engine in engines)
    for name, weight in of_gpu.items():
        assert torch.equal(weight.cpu(), of_cpu[name]), name
    messages = CONVERSATIONS["one picture"]
    assert cold(engines[1], messages) == answered(engines[1], messages)
    for engine in engines:
        engine.close()


def test_closing_gives_the_memory_back(folder: Path) -> None:
    """The first engine leaves the workspaces of libraries, which the next ones use again."""
    left = []
    for _ in range(3):
        engine = open_engine(folder, "bfloat16", device=GPU)
        ask(engine, *CONVERSATIONS["one picture"])
        used = torch.cuda.memory_allocated()
        engine.close()
        del engine
        gc.collect()
        left.append(torch.cuda.memory_allocated())
        assert left[-1] < used
    assert left[2] <= left[1] + 2**20, left
