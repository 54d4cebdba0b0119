"""How a model reads a video: `native`, pairs of frames as it was trained, or as single `pictures`.

The rules are Qwen3VLVideoProcessor's. It needs torchvision, so pixels take the way of pictures
instead: the same values, up to two of 255 grey levels where a frame is resized.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image as PILImage
from transformers.models.qwen3_vl.video_processing_qwen3_vl import (
    Qwen3VLVideoProcessor,
    smart_resize,
)

from qwen_ui.engines.clips import Clip
from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.errors import ModelFailed

NATIVE = "native"
PICTURES = "pictures"
CONFIG = "video_preprocessor_config.json"

_PAIR = 2  # frames that the encoder sees as one


def resolve_video_input(name: str, folder: Path, asked: str) -> str:
    """What `auto` means for a model, and whether it can do what was asked for.

    Raises errors.ModelFailed.
    """
    if asked == PICTURES:
        return PICTURES
    if (folder / CONFIG).is_file():
        if _settings(name, folder).temporal_patch_size == _PAIR:
            return NATIVE
        why = f"{CONFIG} does not take frames in pairs"
    else:
        why = f"it has no {CONFIG}"
    if asked == NATIVE:
        raise ModelFailed(name, f"{why}; use --video-input pictures")
    return PICTURES


class VideoInput:
    """The native way of one model."""

    def __init__(self, settings: Qwen3VLVideoProcessor, processor: PictureProcessor) -> None:
        self._settings = settings
        self._image_processor = processor.image_processor

    def grid_of(self, clip: Clip) -> tuple[int, int, int]:
        """The grid of patches of each pair of a video: time, height, width."""
        settings = self._settings
        frames = max(len(clip.frames), _PAIR)  # a single one is shown twice
        height, width = smart_resize(
            num_frames=frames,
            height=clip.frames[0].height,
            width=clip.frames[0].width,
            temporal_factor=_PAIR,
            factor=settings.patch_size * settings.merge_size,
            min_pixels=settings.size["shortest_edge"],
            max_pixels=self._most_pixels(frames),
        )
        return 1, height // settings.patch_size, width // settings.patch_size

    def pixels(
        self, first: PILImage.Image, second: PILImage.Image, grid: tuple[int, int, int]
    ) -> torch.Tensor:
        """[patches, patch size]: the patches of a pair, each with its part of both frames."""
        settings = self._settings
        size = grid[2] * settings.patch_size, grid[1] * settings.patch_size
        inputs = self._image_processor(
            images=[_resized(frame, size, settings.resample) for frame in (first, second)],
            do_resize=False,
            image_mean=settings.image_mean,
            image_std=settings.image_std,
            return_tensors="pt",
        )
        # a picture is a pair with itself: [frames, patches, channels, twice, pixels]
        pair = inputs["pixel_values"].view(2, grid[1] * grid[2], 3, _PAIR, settings.patch_size**2)
        return torch.stack([pair[0, :, :, 0], pair[1, :, :, 1]], dim=2).flatten(1)

    def _most_pixels(self, frames: int) -> int:
        """Of a whole video (`Qwen3VLVideoProcessor.resize`)."""
        settings = self._settings
        most = int(settings.size["longest_edge"])
        if not settings.cap_pixels_per_frame:
            return most
        cap = int(settings.max_video_tokens * (settings.patch_size * settings.merge_size) ** 2)
        return frames * max(min(cap, most // frames), int(settings.size["shortest_edge"] * 1.05))


def load_video_input(name: str, folder: Path, processor: PictureProcessor) -> VideoInput:
    """For a folder that `resolve_video_input` called native. Raises errors.ModelFailed."""
    written = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}]}],
        chat_template=processor.chat_template,
        return_dict=False,
    )
    if written.count(processor.video_token_id) != 1:
        raise ModelFailed(name, "its chat template knows no video; use --video-input pictures")
    return VideoInput(_settings(name, folder), processor)


def _settings(name: str, folder: Path) -> Qwen3VLVideoProcessor:
    try:
        return Qwen3VLVideoProcessor.from_dict(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelFailed(name, f"{CONFIG} cannot be read in {folder}") from error


def _resized(
    frame: PILImage.Image, size: tuple[int, int], resample: PILImage.Resampling
) -> PILImage.Image:
    return frame if frame.size == size else frame.resize(size, resample)
