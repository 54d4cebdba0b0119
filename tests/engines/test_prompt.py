"""A prompt made without pixels is the one that the processor makes with them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.processor import load_processor
from qwen_ui.engines.prompt import PictureKey, Prompt, build_prompt
from qwen_ui.errors import ContextTooLong
from qwen_ui.types import Message
from tests.engines.tiny import picture

PROCESSOR = load_processor(VARIANTS["demo"])


def _shell() -> Qwen3VLForConditionalGeneration:
    """The model without weights: only its positions are asked for."""
    with torch.device("meta"):
        return Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(str(VARIANTS["demo"])))


SHELL = _shell()


def built(*messages: Message) -> Prompt:
    return build_prompt(messages, PROCESSOR, SHELL, 10_000)


def by_the_processor(*messages: Message) -> tuple[list[int], torch.Tensor]:
    """Ids and positions, pixels and all."""
    inputs = PROCESSOR.apply_chat_template(
        [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": part}
                    if isinstance(part, str)
                    else {"type": "image", "image": part.load()}
                    for part in message.parts
                ],
            }
            for message in messages
        ],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
    )
    axes, _ = SHELL.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs.get("image_grid_thw"),
    )
    return inputs["input_ids"][0].tolist(), axes


parts = st.one_of(
    st.builds(picture, st.integers(0, 3), st.tuples(st.integers(8, 300), st.integers(8, 300))),
    st.text("ab 图<|image_pad|>\n", min_size=1, max_size=12),
    st.sampled_from(["<|image_pad|>", "<|im_end|>", "<|vision_start|>", "What is this?"]),
)
turns = st.lists(parts, min_size=1, max_size=3).map(tuple)


@settings(max_examples=50)
@given(st.lists(turns, min_size=1, max_size=3))
def test_ids_and_positions_are_those_of_the_processor(asked: list[tuple[object, ...]]) -> None:
    messages = [Message("user", turn) for turn in asked]  # type: ignore[arg-type]
    prompt = built(*messages)
    ids, axes = by_the_processor(*messages)
    assert prompt.ids == ids
    assert torch.equal(prompt.position_ids[1:], axes)
    assert prompt.position_ids[0].tolist() == [list(range(len(ids)))]


def test_a_span_covers_exactly_the_tokens_of_its_picture() -> None:
    prompt = built(Message("user", ("a", picture(1), "b", picture(2, (300, 100)))))
    covered = {place for span in prompt.pictures for place in range(span.start, span.end)}
    pad = PROCESSOR.image_token_id
    assert covered == {place for place, token in enumerate(prompt.ids) if token == pad}


def test_two_pictures_of_one_size_make_equal_ids_and_different_steps() -> None:
    one, other = (built(Message("user", (picture(seed), "?"))) for seed in (1, 2))
    assert one.ids == other.ids
    assert one.step(0, one.length) != other.step(0, other.length)
    assert one.step(0, one.length) == built(Message("user", (picture(1), "?"))).step(0, one.length)


def test_a_step_holds_each_picture_in_one_piece() -> None:
    prompt = built(Message("user", ("a", picture(1), "b")))
    span = prompt.pictures[0]
    step = prompt.step(0, prompt.length)
    assert [piece for piece in step if isinstance(piece, PictureKey)] == [span.key]
    assert len(step) == prompt.length - (span.end - span.start) + 1
    assert prompt.step(span.end, prompt.length) == tuple(prompt.ids[span.end :])


def test_no_picture_is_loaded() -> None:
    asked = picture(1)
    unloadable = type(asked)(asked.digest, asked.width, asked.height, lambda: 1 / 0)  # type: ignore
    assert built(Message("user", (unloadable, "?"))).ids == built(Message("user", (asked, "?"))).ids


def test_too_long_a_prompt_says_how_long_it_is() -> None:
    with pytest.raises(ContextTooLong, match="20"):
        build_prompt((Message("user", ("x" * 300,)),), PROCESSOR, SHELL, 20)
