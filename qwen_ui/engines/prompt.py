"""From canonical messages to the tensors of a prefill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.errors import ContextTooLong
from qwen_ui.types import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A batch of one.

    input_ids [1, L]; position_ids [4, 1, L] (text, then time, height, width);
    pixel_values [patches, patch size] and image_grid_thw [pictures, 3], or None without pictures.
    `next_position`: the rotary position of the first generated token, for all three axes.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    pixel_values: torch.Tensor | None
    image_grid_thw: torch.Tensor | None
    next_position: int

    @property
    def length(self) -> int:
        return int(self.input_ids.shape[1])


def build_prompt(
    messages: tuple[Message, ...], processor: PictureProcessor, model: Any, context_tokens: int
) -> Prompt:
    """Tokenise and preprocess on the CPU. Special tokens typed as text stay text.

    `model` gives `get_rope_index`, which keeps no state. Raises errors.ContextTooLong,
    errors.PictureGone.
    """
    inputs = processor.apply_chat_template(
        [{"role": message.role, "content": _content(message)} for message in messages],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
    )
    ids = inputs["input_ids"]
    length = int(ids.shape[1])
    if length >= context_tokens:
        raise ContextTooLong(length, context_tokens)
    axes, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs.get("image_grid_thw"),
    )
    return Prompt(
        input_ids=ids,
        position_ids=torch.cat([torch.arange(length).view(1, 1, -1), axes]),
        pixel_values=inputs.get("pixel_values"),
        image_grid_thw=inputs.get("image_grid_thw"),
        next_position=int(axes.max()) + 1,
    )


def _content(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part.load()}
        for part in message.parts
    ]
