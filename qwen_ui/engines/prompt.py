"""From canonical messages to the tokens of a prompt. No pixel is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.errors import ContextTooLong
from qwen_ui.types import Image, Message


class PictureKey(NamedTuple):
    """What the model sees of a picture: its pixels, and the grid of patches that they become.

    How pixels become patches is settled by the processor, so a key is good for one engine only.
    """

    digest: str
    grid: tuple[int, int, int]  # time, height, width, in patches


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens from `start` to `end` that stand for a picture."""

    start: int
    end: int
    key: PictureKey
    image: Image


Step = tuple[int | PictureKey, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A batch of one.

    `ids`: the picture's token as often as the picture has tokens. position_ids [4, 1, L] (text,
    then time, height, width). `next_position`: the rotary position of the first generated token,
    for all three axes.
    """

    ids: list[int]
    pictures: tuple[Span, ...]
    position_ids: torch.Tensor
    next_position: int

    @property
    def length(self) -> int:
        return len(self.ids)

    def step(self, start: int, end: int) -> Step:
        """The tokens between two places outside pictures, each picture in one piece: equal for
        equal input. The ids alone would not do: two pictures of one size look alike."""
        return tuple(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> Iterator[int | PictureKey]:
        for span in self.pictures:
            if start <= span.start and span.end <= end:
                yield from self.ids[start : span.start]
                yield span.key
                start = span.end
        yield from self.ids[start:end]


def build_prompt(
    messages: tuple[Message, ...], processor: PictureProcessor, model: Any, context_tokens: int
) -> Prompt:
    """Tokenise on the CPU. Special tokens typed as text stay text.

    `model` gives `get_rope_index`, which keeps no state. Raises errors.ContextTooLong.
    """
    # the tokenizer and not the processor, which insists on pixels for each picture
    short = processor.tokenizer.apply_chat_template(
        [{"role": message.role, "content": _content(message)} for message in messages],
        chat_template=processor.chat_template,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
        sanitize_control_tokens=True,
    )
    images = [p for message in messages for p in message.parts if isinstance(p, Image)]
    ids, spans = _expanded(short, images, processor)
    if len(ids) >= context_tokens:
        raise ContextTooLong(len(ids), context_tokens)
    axes = _axes(ids, spans, processor.image_token_id, model)
    return Prompt(
        ids=ids,
        pictures=spans,
        position_ids=torch.cat([torch.arange(len(ids)).view(1, 1, -1), axes]),
        next_position=int(axes.max()) + 1,
    )


def grid_of(image: Image, processor: PictureProcessor) -> tuple[int, int, int]:
    """The grid that the processor will cut the picture into, told by its size alone."""
    settings = processor.image_processor
    height, width = smart_resize(
        image.height,
        image.width,
        settings.patch_size * settings.merge_size,
        min_pixels=settings.size["shortest_edge"],
        max_pixels=settings.size["longest_edge"],
    )
    return 1, height // settings.patch_size, width // settings.patch_size


def _content(message: Message) -> list[dict[str, str]]:
    """Pictures as places without pixels: the template then writes one token for each."""
    return [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
        for part in message.parts
    ]


def _expanded(
    short: Sequence[int], images: Sequence[Image], processor: PictureProcessor
) -> tuple[list[int], tuple[Span, ...]]:
    ids: list[int] = []
    spans: list[Span] = []
    merged = processor.image_processor.merge_size**2
    rest = iter(images)
    for token in short:
        if token != processor.image_token_id:
            ids.append(token)
            continue
        image = next(rest)
        grid = grid_of(image, processor)
        start = len(ids)
        ids += [token] * (grid[1] * grid[2] // merged)
        spans.append(Span(start, len(ids), PictureKey(image.digest, grid), image))
    return ids, tuple(spans)


def _axes(ids: list[int], spans: Sequence[Span], image_token: int, model: Any) -> torch.Tensor:
    """[3, 1, L]: where each token stands in time, height and width."""
    tokens = torch.tensor([ids])
    grids = torch.tensor([span.key.grid for span in spans]) if spans else None
    axes: torch.Tensor
    axes, _ = model.model.get_rope_index(
        tokens, mm_token_type_ids=(tokens == image_token).int(), image_grid_thw=grids
    )
    return axes
