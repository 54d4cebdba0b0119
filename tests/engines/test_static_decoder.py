"""Decoding over a static buffer, beside the model's own forward. On a GPU the same step is captured
as a graph; here it runs as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import Cache

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines import split_attention, static_decoder
from qwen_ui.engines.decode_step import take_weights
from qwen_ui.engines.decoder import ForwardDecoder
from qwen_ui.engines.kv import AppendedLayer
from qwen_ui.engines.split_attention import HIDDEN, PARTS, attended_parts, joined
from qwen_ui.engines.static_decoder import StaticDecoder
from qwen_ui.engines.transformers import TransformersEngine
from tests.engines.conversations import CONVERSATIONS, answered, by, open_engine
from tests.engines.tiny import save_tiny

LENGTH = 8  # keys of a part


@pytest.fixture(scope="module", params=["demo", "random"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransformersEngine]:
    name = request.param
    folder = VARIANTS["demo"] if name == "demo" else save_tiny(tmp_path_factory.mktemp("tiny"))
    opened = open_engine(folder, "float32")
    yield opened
    opened.close()


def test_it_gives_what_the_models_own_forward_gives(engine: TransformersEngine) -> None:
    model = engine._machine.model
    wanted = {
        name: by(engine, ForwardDecoder(model), messages)
        for name, messages in CONVERSATIONS.items()
    }
    static = StaticDecoder(take_weights(model), kernels=False)
    for name, messages in CONVERSATIONS.items():
        found = by(engine, static, messages)
        assert found.ids == wanted[name].ids, name
        torch.testing.assert_close(found.logits, wanted[name].logits, rtol=1e-3, atol=1e-3)


def test_joining_matrices_leaves_the_models_own_forward_as_it_was(
    engine: TransformersEngine,
) -> None:
    messages = CONVERSATIONS["one picture"]
    before = answered(engine, messages)
    StaticDecoder(take_weights(engine._machine.model), kernels=False)
    engine.forget()
    assert answered(engine, messages) == before


def test_an_answer_that_outgrows_its_buffer_goes_on(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a buffer that grew in another answer changes no bit of this one."""
    monkeypatch.setattr(static_decoder, "SMALLEST", 16)
    monkeypatch.setattr(split_attention, "PARTS", 2)
    static = StaticDecoder(take_weights(engine._machine.model), kernels=False)
    looked_at: list[int] = []
    captured = static._captured

    def noted(tokens: int) -> object:
        looked_at.append(tokens)
        return captured(tokens)

    monkeypatch.setattr(static, "_captured", noted)
    first, grown = {}, 0
    for name, messages in CONVERSATIONS.items():
        static.release()
        looked_at.clear()
        first[name] = by(engine, static, messages)
        grown += len(looked_at) > 1
        assert first[name].ids == by(engine, ForwardDecoder(engine._machine.model), messages).ids
    assert grown
    for name, messages in CONVERSATIONS.items():
        assert by(engine, static, messages) == first[name], name


def test_numbers_that_are_not_finite_do_not_outlive_their_answer(
    engine: TransformersEngine,
) -> None:
    weights, messages = take_weights(engine._machine.model), CONVERSATIONS["one picture"]
    static = StaticDecoder(weights, kernels=False)
    before = by(engine, static, messages)
    overflowed = Cache(layers=[AppendedLayer() for _ in weights.layers])
    for layer in overflowed.layers:
        shape = (1, weights.shape.kv_heads, 900, weights.shape.width)
        layer.update(*torch.full((2, *shape), torch.nan))
    with torch.inference_mode():
        static.start(overflowed, 900, 900)(5)()
    assert by(engine, static, messages) == before


def test_the_buffer_of_a_long_conversation_goes_with_it(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_decoder, "SMALLEST", 16)
    monkeypatch.setattr(static_decoder, "KEPT", 32)
    monkeypatch.setattr(split_attention, "PARTS", 2)
    static = StaticDecoder(take_weights(engine._machine.model), kernels=False)
    short = by(engine, static, CONVERSATIONS["text"])
    by(engine, static, CONVERSATIONS["three turns"])
    assert static._buffer is not None
    grown = static._buffer.shape[2]
    assert by(engine, static, CONVERSATIONS["text"]) == short
    assert static._buffer.shape[2] < grown


def test_memory_is_given_back_and_taken_again(engine: TransformersEngine) -> None:
    static = StaticDecoder(take_weights(engine._machine.model), kernels=False)
    messages = CONVERSATIONS["one picture"]
    before = by(engine, static, messages)
    static.release()
    assert static._buffer is None
    assert by(engine, static, messages) == before


@pytest.mark.parametrize("filled", [1, LENGTH - 1, LENGTH, LENGTH + 1, PARTS * LENGTH])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention_in_parts_is_attention(filled: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(filled)
    heads, group, width = 2, 3, 16
    query = torch.randn(heads, group, width, generator=generator).to(dtype)
    keys, values = torch.randn(2, PARTS * LENGTH, heads, width, generator=generator).to(dtype)
    hidden = torch.arange(PARTS * LENGTH) >= filled
    mask = torch.where(hidden, HIDDEN, 0.0).to(dtype)
    found = joined(*attended_parts(query, keys, values, mask, 0.25))
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query.double(),
        keys[:filled].transpose(0, 1).double(),
        values[:filled].transpose(0, 1).double(),
        scale=0.25,
    )
    near = 1e-5 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(found.double(), wanted, rtol=near, atol=near)


def test_what_lies_behind_the_filled_part_changes_nothing() -> None:
    """The buffer keeps what earlier answers wrote."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 16, generator=generator)
    keys, values = torch.randn(2, PARTS * LENGTH, 2, 16, generator=generator)
    mask = torch.where(torch.arange(PARTS * LENGTH) >= 5, HIDDEN, 0.0)
    before = joined(*attended_parts(query, keys, values, mask, 0.25))
    keys[5:], values[5:] = 1e6, -1e6
    assert torch.equal(joined(*attended_parts(query, keys, values, mask, 0.25)), before)
