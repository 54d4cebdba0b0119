"""What visitors drop: pictures and videos, who opens them, and where their files are kept."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_ui.images import ImageOpener
from qwen_ui.media import MediaStore
from qwen_ui.types import Attachment
from qwen_ui.video_file import looks_like_video
from qwen_ui.videos import VideoOpener


@dataclass(frozen=True, slots=True)
class Uploads:
    """Both openers keep their files in `media`."""

    media: MediaStore
    images: ImageOpener
    videos: VideoOpener

    def open(self, data: bytes, name: str) -> Attachment:
        """Whichever it is, by its bytes. Raises errors.BadRequest."""
        if looks_like_video(data):
            return self.videos.open(data, name)
        return self.images.open(data, name)

    def clear(self) -> None:
        """Keep no frame in memory, and no file and thumbnail that no open conversation shows."""
        self.videos.clear()
        self.media.clear()
