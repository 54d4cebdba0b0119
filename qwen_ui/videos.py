"""From an uploaded video to a run of texts and pictures: a time, a frame, a time, a frame.

Frames are hashed like any other picture, and are shared by all questions about them. Whether a
model reads them as pictures or as a video is for its engine to say.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image as PILImage

from cache_store import images as canonical
from cache_store.video_memo import RememberedFrame, RememberedVideo, VideoMemo
from qwen_ui import frame_times, video_frames
from qwen_ui.errors import BadRequest, FileTooBig, GenerationFailed, PictureGone
from qwen_ui.frame_times import clock
from qwen_ui.images import megabytes
from qwen_ui.kept_frames import KeptFrames
from qwen_ui.media import MediaStore
from qwen_ui.settings import Settings
from qwen_ui.types import Frame, Image, Video
from qwen_ui.video_errors import NoSuchPart, VideoTooLong
from qwen_ui.video_file import VideoFile, decoders
from qwen_ui.video_frames import pictures_at, read_track

log = logging.getLogger(__name__)

_LOCKS = 16
_KEPT_BYTES = 128 * 2**20  # in memory: nine videos as they are sampled by default

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """How a video is sampled, and which one is refused."""

    fps: float
    frames: int  # at most, in one video
    frame_pixels: int  # larger ones are reduced
    max_bytes: int
    max_pixels: int
    max_s: float


def video_limits(settings: Settings) -> VideoLimits:
    return VideoLimits(
        fps=settings.video_fps,
        frames=settings.video_frames,
        frame_pixels=settings.video_frame_pixels,
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_video_pixels,
        max_s=settings.max_video_s,
    )


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Part:
    """What of which file; each upload has one of its own."""

    id: str
    name: str
    start_s: Fraction | None
    end_s: Fraction | None


class VideoOpener:
    """Opens uploads. A video that was seen before is not decoded again. Thread-safe."""

    def __init__(
        self,
        memo: VideoMemo,
        media: MediaStore,
        limits: VideoLimits,
        kept_bytes: int = _KEPT_BYTES,
    ) -> None:
        self._memo = memo
        self._media = media
        self._limits = limits
        self._kept = KeptFrames(kept_bytes)
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def open(
        self, data: bytes, name: str, start_s: float | None = None, end_s: float | None = None
    ) -> Video:
        """Accept a video file, or what lies between two times of it. `name` is what errors call it.

        Raises errors.BadRequest and its kinds.
        """
        limit = self._limits.max_bytes
        if len(data) > limit:
            raise FileTooBig(name, megabytes(len(data)), megabytes(limit))
        part = _Part(hashlib.sha256(data).hexdigest(), name, *_bounds(start_s, end_s))
        try:
            known, thumbnail = self._known(part, data)
            self._media.hold(part, part.id, _middle(known.frames).digest)
            self._media.put(part.id, data)
        except OSError as error:
            log.error("%s cannot be kept: %s", name, error)
            raise GenerationFailed(
                f"{name} cannot be kept ({error.strerror}); tell the host"
            ) from error
        return Video(
            id=part.id,
            name=name,
            parts=self._parts(part, known),
            frames=len(known.frames),
            every_s=known.every_s,
            start_s=known.start_s,
            end_s=known.end_s,
            length_s=known.length_s,
            thumbnail=thumbnail,
        )

    def _parts(self, part: _Part, known: RememberedVideo) -> tuple[str | Image, ...]:
        parts: list[str | Image] = []
        key = self._key(part)
        for place, frame in enumerate(known.frames):
            load = partial(self._load, part, place, frame.digest)
            at_hand = partial(self._is_kept, key, frame.digest)
            parts.append(frame_times.stamp(frame.at_s))
            size = frame.width, frame.height
            parts.append(Frame(frame.digest, *size, load, place, frame.at_s, at_hand))
        return tuple(parts)

    def _known(self, part: _Part, data: bytes) -> tuple[RememberedVideo, Path]:
        """The frames of a file and a thumbnail of the middle one; decoded where one is missing."""
        with self._lock(part):
            known = self._memo.get(self._key(part))
            thumbnail = self._media.thumbnail(_middle(known.frames).digest) if known else None
            if known is None or thumbnail is None:
                known, pictures = self._decode(part, data)
                poster = _middle(known.frames).digest
                thumbnail = self._media.make_thumbnail(poster, _middle(pictures))
            return known, thumbnail

    def _decode(self, part: _Part, data: bytes) -> tuple[RememberedVideo, list[PILImage.Image]]:
        """Remember the frames of a file. Raises video_errors.VideoRefused."""
        limits = self._limits
        file = VideoFile(data, part.name, limits.max_pixels)
        track = read_track(file)
        start_s, end_s = self._cut(part, track.length_s)
        chosen = frame_times.choose(start_s, end_s, frame_times.seconds(limits.fps), limits.frames)
        pictures = list(pictures_at(file, track, chosen.times, limits.frame_pixels))
        frames = tuple(
            RememberedFrame(float(at_s), canonical.digest(picture), *picture.size)
            for at_s, picture in zip(chosen.times, pictures, strict=True)
        )
        known = RememberedVideo(
            length_s=float(track.length_s),
            start_s=float(start_s),
            end_s=float(end_s),
            every_s=float(chosen.every_s),
            frames=frames,
        )
        key = self._key(part)
        self._memo.put(key, known)
        digests = (frame.digest for frame in frames)
        self._kept.put(key, dict(zip(digests, pictures, strict=True)))
        return known, pictures

    def _cut(self, part: _Part, length_s: Fraction) -> tuple[Fraction, Fraction]:
        start_s = part.start_s or Fraction(0)
        end_s = length_s if part.end_s is None else min(part.end_s, length_s)
        if start_s and start_s >= end_s:
            raise NoSuchPart(part.name, clock(length_s), clock(start_s))
        if end_s - start_s > self._limits.max_s:
            asked = clock(math.ceil(end_s - start_s))  # never reads like the limit
            raise VideoTooLong(part.name, asked, clock(math.floor(self._limits.max_s)))
        return start_s, end_s

    def clear(self) -> None:
        """Keep no frames in memory."""
        self._kept.clear()

    def _is_kept(self, key: str, digest: str) -> bool:
        return self._kept.get(key, digest) is not None

    def _load(self, part: _Part, place: int, digest: str) -> PILImage.Image:
        key = self._key(part)
        found = self._kept.get(key, digest)  # without the lock: nobody waits for another's decoding
        if found is None:
            with self._lock(part):
                found = self._kept.get(key, digest) or self._decoded_again(part, place, digest)
        return found.copy()

    def _decoded_again(self, part: _Part, place: int, digest: str) -> PILImage.Image:
        data = self._media.get(part.id)
        if data is None:
            raise PictureGone
        if hashlib.sha256(data).hexdigest() != part.id:
            raise GenerationFailed("the kept file of a video was changed")
        known, pictures = self._decode(part, data)
        # what is hashed is what is run, or nothing is
        if [frame.digest for frame in known.frames[place : place + 1]] != [digest]:
            raise GenerationFailed("a video's remembered digests were wrong; ask again")
        return pictures[place]

    def _key(self, part: _Part) -> str:
        """Everything that decides the frames."""
        made_by = (video_frames.VERSION, canonical.DECODERS, decoders())
        asked = (part.id, str(part.start_s), str(part.end_s), astuple(self._limits))
        return hashlib.sha256(repr((asked, made_by)).encode()).hexdigest()

    def _lock(self, part: _Part) -> threading.Lock:
        """Who comes second for a file finds what the first one decoded."""
        return self._locks[int(part.id[:8], 16) % _LOCKS]


def _bounds(start_s: float | None, end_s: float | None) -> tuple[Fraction | None, Fraction | None]:
    """Raises errors.BadRequest. Written so that NaN fails too."""
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and not 0 <= value < math.inf:
            raise BadRequest(f"{name} must be 0 or more.")
    start = None if start_s is None else frame_times.seconds(start_s)
    end = None if end_s is None else frame_times.seconds(end_s)
    if end is not None and end <= (start or 0):
        raise BadRequest("end_s must be more than start_s.")
    return start, end


def _middle(items: Sequence[Item]) -> Item:
    """The first frame of a video is often black."""
    return items[len(items) // 2]
