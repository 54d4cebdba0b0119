"""A picture, or a pair of frames, as the vision encoder sees it: encoded once, good at any place of
any prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.engines.prompt import PairKey, Span
from qwen_ui.engines.transfers import to_device, to_host
from qwen_ui.engines.video_input import VideoInput


@dataclass(frozen=True, slots=True)
class Features:
    """[tokens, hidden size] for the embedding, and for each early layer that gets its own.

    They lie in host memory: a few megabytes, brought to the device in a moment.
    """

    embeds: torch.Tensor
    deepstack: tuple[torch.Tensor, ...]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.embeds, *self.deepstack))

    def part(
        self, start: int, end: int, device: torch.device
    ) -> BaseModelOutputWithDeepstackFeatures:
        """Some of the picture's tokens, as the model's `mm_encoder_outputs` wants them."""
        embeds, *deepstack = (
            to_device(layer[start:end], device) for layer in (self.embeds, *self.deepstack)
        )
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=[embeds], deepstack_features=[[layer] for layer in deepstack]
        )


def encode(
    span: Span, processor: PictureProcessor, model: Any, video: VideoInput | None
) -> Features:
    """Decode, preprocess and encode one picture, alone: a batch would change its bits.

    Raises errors.PictureGone.
    """
    pixel_values = to_device(pixels_of(span, processor, video), model.device)
    grids = torch.tensor([span.key.grid], device=model.device)
    found = model.model.get_image_features(pixel_values, grids)  # of a video it is the same
    return Features(
        embeds=_kept(found.pooler_output),
        deepstack=tuple(_kept(layer) for layer in found.deepstack_features),
    )


def pixels_of(span: Span, processor: PictureProcessor, video: VideoInput | None) -> torch.Tensor:
    """[patches, patch size], exactly what the encoder gets."""
    frames = [image.load() for image in span.images]
    if isinstance(span.key, PairKey):
        assert video is not None
        return video.pixels(frames[0], frames[1], span.key.grid)
    inputs = processor.image_processor(images=frames, return_tensors="pt")
    (grid,) = inputs["image_grid_thw"].tolist()
    if tuple(grid) != span.key.grid:
        raise RuntimeError(f"a picture of grid {span.key.grid} was cut into {grid}")
    pixels: torch.Tensor = inputs["pixel_values"]
    return pixels


def _kept(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return to_host(torch.cat(list(parts)))
