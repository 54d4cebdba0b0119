"""From canonical messages to the tokens of a prompt. No pixel is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from qwen_ui.engines.clips import Clip, pieces
from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.engines.video_input import VideoInput
from qwen_ui.errors import ContextTooLong
from qwen_ui.types import Image, Message


class PictureKey(NamedTuple):
    """What the model sees of a picture: its pixels, and the grid of patches that they become.

    How pixels become patches is settled by the processor, so a key is good for one engine only.
    """

    digest: str
    grid: tuple[int, int, int]  # time, height, width, in patches


class PairKey(NamedTuple):
    """The same for two frames of a video that the model sees as one."""

    first: str
    second: str
    grid: tuple[int, int, int]


VisionKey = PictureKey | PairKey


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens from `start` to `end` that stand for a picture, or for a pair of frames."""

    start: int
    end: int
    key: VisionKey
    images: tuple[Image, ...]


Step = tuple[int | VisionKey, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A batch of one.

    `ids`: the token of a picture, or of a video, as often as it has tokens. `pictures`: pairs of
    frames as well. position_ids [4, 1, L] (text, then time, height, width). `next_position`: the
    rotary position of the first generated token, for all three axes.
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

    def _pieces(self, start: int, end: int) -> Iterator[int | VisionKey]:
        for span in self.pictures:
            if start <= span.start and span.end <= end:
                yield from self.ids[start : span.start]
                yield span.key
                start = span.end
        yield from self.ids[start:end]


def build_prompt(
    messages: tuple[Message, ...],
    processor: PictureProcessor,
    model: Any,
    context_tokens: int,
    video: VideoInput | None = None,
) -> Prompt:
    """Tokenise on the CPU. Special tokens typed as text stay text.

    `model` gives `get_rope_index`, which keeps no state. Without `video` the frames of a video are
    pictures, each behind its time. Raises errors.ContextTooLong.
    """
    parts = [_parts(message, video) for message in messages]
    # the tokenizer and not the processor, which insists on pixels for each picture
    short = processor.tokenizer.apply_chat_template(
        [
            {"role": message.role, "content": [_content(part) for part in of_message]}
            for message, of_message in zip(messages, parts, strict=True)
        ],
        chat_template=processor.chat_template,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
        sanitize_control_tokens=True,
    )
    seen = [part for of_message in parts for part in of_message if not isinstance(part, str)]
    ids, spans = _Expansion(processor, video).of(short, seen)
    if len(ids) >= context_tokens:
        raise ContextTooLong(len(ids), context_tokens)
    axes = _axes(ids, spans, processor, model)
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


def _parts(message: Message, video: VideoInput | None) -> Sequence[str | Image | Clip]:
    return message.parts if video is None else pieces(message.parts)


def _content(part: str | Image | Clip) -> dict[str, str]:
    """Pictures and videos as places without pixels: the template writes one token for each."""
    match part:
        case str():
            return {"type": "text", "text": part}
        case Image():
            return {"type": "image"}
        case Clip():
            return {"type": "video"}


class _Expansion:
    """From one token for each picture and video to as many as it has."""

    def __init__(self, processor: PictureProcessor, video: VideoInput | None) -> None:
        self._processor = processor
        self._video = video
        self._merged = processor.image_processor.merge_size**2
        self._ids: list[int] = []
        self._spans: list[Span] = []

    def of(
        self, short: Sequence[int], seen: Sequence[Image | Clip]
    ) -> tuple[list[int], tuple[Span, ...]]:
        rest = iter(seen)
        for token in short:
            if token not in (self._processor.image_token_id, self._processor.video_token_id):
                self._ids.append(token)
                continue
            match next(rest):
                case Image() as image:
                    key = PictureKey(image.digest, grid_of(image, self._processor))
                    self._add(token, key, image)
                case Clip() as clip:
                    self._add_clip(token, clip)
        return self._ids, tuple(self._spans)

    def _add_clip(self, token: int, clip: Clip) -> None:
        """Each pair behind its time and between marks of its own, inside those of the template
        (`Qwen3VLProcessor.replace_video_token`)."""
        assert self._video is not None
        grid = self._video.grid_of(clip)
        for pair in clip.pairs:
            time = f"<{pair.at_s:.1f} seconds>"
            self._ids += self._processor.tokenizer.encode(time, add_special_tokens=False)
            self._ids.append(self._processor.vision_start_token_id)
            key = PairKey(pair.first.digest, pair.second.digest, grid)
            self._add(token, key, pair.first, pair.second)
            self._ids.append(self._processor.vision_end_token_id)

    def _add(self, token: int, key: VisionKey, *images: Image) -> None:
        start = len(self._ids)
        self._ids += [token] * (key.grid[1] * key.grid[2] // self._merged)
        self._spans.append(Span(start, len(self._ids), key, images))


def _axes(
    ids: list[int], spans: Sequence[Span], processor: PictureProcessor, model: Any
) -> torch.Tensor:
    """[3, 1, L]: where each token stands in time, height and width."""
    tokens = torch.tensor([ids])
    pictures = [span.key.grid for span in spans if isinstance(span.key, PictureKey)]
    pairs = [span.key.grid for span in spans if isinstance(span.key, PairKey)]
    kinds = (tokens == processor.image_token_id).int()
    kinds += 2 * (tokens == processor.video_token_id).int()
    axes: torch.Tensor
    axes, _ = model.model.get_rope_index(
        tokens,
        mm_token_type_ids=kinds,
        image_grid_thw=torch.tensor(pictures) if pictures else None,
        video_grid_thw=torch.tensor(pairs) if pairs else None,
    )
    return axes
