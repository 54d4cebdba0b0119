"""What transformers makes of a conversation with videos, all frames of a video at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from transformers import Qwen3VLProcessor
from transformers.feature_extraction_utils import BatchFeature
from transformers.models.qwen3_vl.video_processing_qwen3_vl import (
    Qwen3VLVideoProcessor,
    smart_resize,
)
from transformers.video_utils import VideoMetadata

from qwen_ui.engines.clips import Clip, pieces
from qwen_ui.engines.processor import load_processor
from qwen_ui.types import Image, Message


class WithoutTorchvision(Qwen3VLVideoProcessor):  # type: ignore[misc]
    """Its pixels by PIL and by the formula; sizes and patches are transformers' own."""

    def __call__(self, videos: Any, video_metadata: Any, **_: Any) -> BatchFeature:
        patched = [self._patched(video) for video in videos]
        return BatchFeature(
            {
                "pixel_values_videos": torch.cat([patches for patches, _ in patched]),
                "video_grid_thw": torch.tensor([grid for _, grid in patched]),
                "video_metadata": video_metadata,
            }
        )

    def _patched(self, video: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        count, _, height, width = video.shape
        height, width = smart_resize(
            max(count, 2),
            height,
            width,
            factor=32,
            min_pixels=self.size["shortest_edge"],
            max_pixels=self.size["longest_edge"],
        )
        frames = [PILImage.fromarray(frame.permute(1, 2, 0).numpy()) for frame in video]
        resized = [
            np.asarray(f.resize((width, height), PILImage.Resampling.BICUBIC)) for f in frames
        ]
        values = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255
        patches, *grid = self.patchify((values - 0.5)[None] / 0.5, 16, 2, 2)
        return patches[0], grid


class Reference(Qwen3VLProcessor):  # type: ignore[misc]
    """Qwen3VLProcessor with either video processor."""

    def check_argument_for_proper_class(self, *_: Any) -> None:
        """It would refuse any video processor where torchvision is missing."""

    def inputs(self, messages: Sequence[Message]) -> BatchFeature:
        """What the model gets: ids, kinds of tokens, pixels, grids."""
        parts = [pieces(message.parts) for message in messages]
        text = self.apply_chat_template(
            [
                {"role": message.role, "content": [_content(part) for part in of_message]}
                for message, of_message in zip(messages, parts, strict=True)
            ],
            tokenize=False,
            add_generation_prompt=True,
        )
        seen = [part for of_message in parts for part in of_message]
        clips = [part for part in seen if isinstance(part, Clip)]
        pictures = [part.load() for part in seen if isinstance(part, Image)]
        return self(
            text=[text],
            images=pictures or None,
            videos=[_frames(clip) for clip in clips] or None,
            video_metadata=[_metadata(clip) for clip in clips] or None,
            do_sample_frames=False,
            return_tensors="pt",
        )


def reference_of(folder: Path, videos: Qwen3VLVideoProcessor) -> Reference:
    """Over the files of a model's folder."""
    ours = load_processor(folder)
    return Reference(ours.image_processor, ours.tokenizer, videos, chat_template=ours.chat_template)


def _content(part: str | Image | Clip) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image" if isinstance(part, Image) else "video"}


def _frames(clip: Clip) -> torch.Tensor:
    """[frames, channels, height, width]."""
    return torch.from_numpy(np.stack([np.asarray(f.load()) for f in clip.frames])).permute(
        0, 3, 1, 2
    )


def _metadata(clip: Clip) -> VideoMetadata:
    """Times are numbers of frames over a rate."""
    times = [frame.at_s for frame in clip.frames]
    return VideoMetadata(total_num_frames=len(times), fps=1.0, frames_indices=times)
