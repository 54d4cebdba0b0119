"""The frames of videos in memory: from being decoded to being asked about."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from PIL import Image as PILImage

from qwen_ui.types import Frame, Message


class KeptFrames:
    """By video, and by digest in it. Thread-safe.

    Past `max_bytes` the videos go that were used least recently, each as a whole. The one that was
    put last stays however big it is: its frames were decoded together, to be read one by one.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._videos: OrderedDict[str, Mapping[str, PILImage.Image]] = OrderedDict()

    def get(self, video: str, digest: str) -> PILImage.Image | None:
        """Not to be changed: others get the same one."""
        with self._lock:
            frames = self._videos.get(video)
            if frames is None:
                return None
            self._videos.move_to_end(video)
            return frames.get(digest)

    def put(self, video: str, frames: Mapping[str, PILImage.Image]) -> None:
        with self._lock:
            self._videos[video] = frames
            self._videos.move_to_end(video)
            kept = sum(map(_bytes, self._videos.values()))
            while kept > self._max_bytes and len(self._videos) > 1:
                kept -= _bytes(self._videos.popitem(last=False)[1])

    def clear(self) -> None:
        with self._lock:
            self._videos.clear()


def frames_away(messages: Iterable[Message]) -> list[Frame]:
    """The frames of videos that would have to be decoded."""
    parts = (part for message in messages for part in message.parts)
    return [part for part in parts if isinstance(part, Frame) and not part.at_hand()]


def _bytes(frames: Mapping[str, PILImage.Image]) -> int:
    return sum(picture.width * picture.height * 3 for picture in frames.values())
