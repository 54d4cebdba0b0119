"""The one processor loader, for demo and real weights alike, torchvision installed or not.

`AutoProcessor` insists on the video processor, which needs torchvision. Always leaving it out
means the pixels of a picture do not depend on what happens to be installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Qwen3VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil


class PictureProcessor(Qwen3VLProcessor):  # type: ignore[misc]
    """Qwen3VLProcessor without a video processor; `videos=` raises instead of being ignored."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @classmethod
    def _get_arguments_from_pretrained(
        cls,
        pretrained_model_name_or_path: str,
        processor_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        # The base class would pick the torchvision image processor where there is one.
        return [
            Qwen2VLImageProcessorPil.from_pretrained(pretrained_model_name_or_path, **kwargs),
            cls._load_tokenizer_from_pretrained(
                "tokenizer", pretrained_model_name_or_path, **kwargs
            ),
        ]

    def __call__(self, *args: Any, videos: Any = None, **kwargs: Any) -> Any:
        if videos is not None:
            raise ValueError("video is not supported")
        return super().__call__(*args, **kwargs)


def load_processor(
    folder: Path, *, min_pixels: int | None = None, max_pixels: int | None = None
) -> PictureProcessor:
    """The processor of a model's folder; `FileNotFoundError` if there is none.

    `min_pixels` and `max_pixels` bound the area of the resized picture and replace the
    folder's own limits.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    processor: PictureProcessor = PictureProcessor.from_pretrained(
        str(folder), local_files_only=True
    )
    size = dict(processor.image_processor.size)
    if min_pixels is not None:
        size["shortest_edge"] = min_pixels
    if max_pixels is not None:
        size["longest_edge"] = max_pixels
    if size["shortest_edge"] > size["longest_edge"]:
        raise ValueError(f"min_pixels {size['shortest_edge']} > max_pixels {size['longest_edge']}")
    processor.image_processor.size = size
    return processor
