"""Short chunks by operations of our own, beside the forward of the model. On a GPU they come with
the engine; here it is given them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines import short_chunks
from qwen_ui.engines.decode_step import take_weights
from qwen_ui.engines.interrupt import Stopped, StopSign
from qwen_ui.engines.kv import open_cache
from qwen_ui.engines.short_chunks import ShortChunks
from qwen_ui.engines.transformers import TransformersEngine
from tests.engines.conversations import (
    CHUNK,
    CONVERSATIONS,
    Answers,
    cold,
    nothing_changes,
    open_engine,
)
from tests.engines.tiny import save_tiny


@pytest.fixture(
    scope="module",
    params=[(name, dtype) for name in ("demo", "random") for dtype in ("float32", "bfloat16")],
    ids="-".join,
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransformersEngine]:
    name, dtype = request.param
    folder = VARIANTS["demo"] if name == "demo" else save_tiny(tmp_path_factory.mktemp("tiny"))
    opened = open_engine(folder, dtype)
    yield opened
    opened.close()


@pytest.fixture
def plain(engine: TransformersEngine) -> Answers:
    """By the model's own forward alone."""
    return {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}


@pytest.fixture
def computed(
    engine: TransformersEngine, plain: object, monkeypatch: pytest.MonkeyPatch
) -> list[list[int]]:
    """The engine has our operations from now on; the chunks that they compute."""
    chunks, computed = ShortChunks(take_weights(engine._machine.model)), list[list[int]]()
    forward = chunks.forward

    def noted(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        computed.extend(ids.tolist())
        return forward(ids, *rest)

    monkeypatch.setattr(chunks, "forward", noted)
    monkeypatch.setattr(engine._machine, "short_chunks", chunks)
    engine.forget()
    return computed


def test_they_give_what_the_models_own_forward_gives(
    engine: TransformersEngine, plain: Answers, computed: list[list[int]]
) -> None:
    near = 1e-3 if engine.spec.dtype == "float32" else 0.15
    for name, messages in CONVERSATIONS.items():
        found = cold(engine, messages)
        torch.testing.assert_close(found.logits[0], plain[name].logits[0], rtol=near, atol=near)
        if engine.spec.dtype == "float32":
            assert found.ids == plain[name].ids, name
            torch.testing.assert_close(found.logits, plain[name].logits, rtol=near, atol=near)
    assert len(computed) > len(CONVERSATIONS)


def test_whatever_was_asked_before_an_answer_is_that_of_a_cold_engine(
    engine: TransformersEngine, computed: list[list[int]]
) -> None:
    first = {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}
    assert nothing_changes(engine, first, CONVERSATIONS) > len(CONVERSATIONS)


def test_a_long_chunk_and_one_with_a_picture_are_left_to_the_model(
    engine: TransformersEngine, computed: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_chunks, "MOST_TOKENS", CHUNK - 1)
    for messages in CONVERSATIONS.values():
        cold(engine, messages)
    assert computed
    tokenizer = engine._machine.processor.tokenizer
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert all(len(chunk) < CHUNK and pad not in chunk for chunk in computed)


def test_a_short_chunk_far_behind_has_too_large_a_mask(engine: TransformersEngine) -> None:
    chunks = ShortChunks(take_weights(engine._machine.model))
    assert chunks.take(8000, 8020)
    assert chunks.take(100_000, 100_020)
    assert not chunks.take(100_000, 100_512)
    assert not chunks.take(0, 513)


def test_a_stopped_job_ends_between_two_layers(engine: TransformersEngine) -> None:
    weights = take_weights(engine._machine.model)
    cache = open_cache([torch.device("cpu")] * len(weights.layers), [])
    ids = torch.tensor([[1, 2, 3]])
    stop = StopSign()
    stop.set()
    with pytest.raises(Stopped), torch.inference_mode():
        ShortChunks(weights).forward(ids, torch.arange(3).expand(3, 1, 3), cache, stop)
