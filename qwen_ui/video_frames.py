"""Which frame of a video is shown when, and that frame as a picture.

A header promises anything: here the length comes from the packets, and the size of each frame is
looked at before it is used.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from PIL import Image as PILImage

from cache_store.images import canonicalise
from qwen_ui.video_errors import VideoTooHeavy, VideoWithoutFrames
from qwen_ui.video_file import VideoFile

VERSION = 1  # of what is made of a frame: a change makes every remembered digest stale

_MOST_WORK = 2 * 10**10  # pixels decoded for one video: 10,000 frames of 1920x1080
_STRANGEST_PIXEL = 8  # wide or tall: beyond that an aspect ratio is a mistake
_HD = 720  # lines; where a file does not name its colours, players take this for the border
# swscale.h: SWS_BICUBIC, SWS_ACCURATE_RND, SWS_BITEXACT: the same on every processor
_EXACTLY = 0x4 | 0x40000 | 0x80000
_BT709 = 1  # swscale.h: SWS_CS_ITU709
_UNSPECIFIED = 2  # ITU-T H.273, matrix coefficients

# the signs of a, b, c, d in the display matrix (ISO/IEC 14496-12, 6.2.2)
_TURN_UPRIGHT = {
    (-1, 0, 0, 1): PILImage.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): PILImage.Transpose.ROTATE_180,
    (1, 0, 0, -1): PILImage.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): PILImage.Transpose.TRANSPOSE,
    (0, 1, -1, 0): PILImage.Transpose.ROTATE_270,
    (0, -1, -1, 0): PILImage.Transpose.TRANSVERSE,
    (0, -1, 1, 0): PILImage.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Track:
    """The packets of the pictures, in units of `time_base`: when the first frame begins and the
    last one ends, and where decoding may begin."""

    start: int
    end: int
    key_frames: tuple[int, ...]
    time_base: Fraction

    @property
    def length_s(self) -> Fraction:
        return (self.end - self.start) * self.time_base

    def at(self, time_s: Fraction) -> int:
        return self.start + round(time_s / self.time_base)


def read_track(file: VideoFile) -> Track:
    """Reads every packet and decodes none. Raises VideoRefused."""
    starts, ends, key_frames = [], [], []
    with file.opened() as (container, stream):
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            if packet.is_keyframe:
                key_frames.append(packet.pts)
            if not packet.is_discard:  # the file cuts it off itself
                starts.append(packet.pts)
                ends.append(packet.pts + (packet.duration or 0))
        if not starts:
            raise VideoWithoutFrames(file.name)
        return Track(min(starts), max(ends), tuple(sorted(key_frames)), stream.time_base)


def pictures_at(
    file: VideoFile, track: Track, times: Iterable[Fraction], most_pixels: int
) -> Iterator[PILImage.Image]:
    """What is shown at each of these ascending times: upright, in square pixels, reduced to
    `most_pixels`, canonical. Raises VideoRefused."""
    with file.opened() as (container, stream):
        reader = _Reader(file, container, stream, track.key_frames)
        with closing(reader):
            aspect = _pixel_aspect(stream)
            for time_s in times:
                yield _picture(reader.shown_at(track.at(time_s)), aspect, most_pixels)


class _Reader:
    """Goes forward through the frames, and jumps over those that need not be decoded."""

    def __init__(
        self, file: VideoFile, container: Any, stream: Any, key_frames: tuple[int, ...]
    ) -> None:
        self._file = file
        self._container = container
        self._stream = stream
        self._keys = key_frames
        self._work = 0
        self._frames = self._decoded()
        self._shown: Any = None
        self._next: Any = next(self._frames, None)

    def shown_at(self, at: int) -> Any:
        """The last frame that begins no later; the first one, where none does."""
        self._jump(at)
        while self._next is not None and (self._shown is None or self._next.pts <= at):
            self._shown, self._next = self._next, next(self._frames, None)
        if self._shown is None:
            raise VideoWithoutFrames(self._file.name)
        return self._shown

    def close(self) -> None:
        self._frames.close()

    def _jump(self, at: int) -> None:
        """To the last key frame that is not after `at`, where that lies ahead."""
        place = bisect_right(self._keys, at) - 1
        if place <= 0 or self._next is None or self._keys[place] <= self._next.pts:
            return
        self._seek(self._keys[place])
        if self._next is None or self._next.pts > at:  # the index of the file is wrong
            self._seek(self._keys[0])
            self._keys = ()

    def _seek(self, to: int) -> None:
        self._frames.close()
        self._container.seek(to, stream=self._stream)
        self._frames = self._decoded()
        self._shown, self._next = None, next(self._frames, None)

    def _decoded(self) -> Generator[Any]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except ValueError:  # av.InvalidDataError, one damaged packet: the whole ones are shown
                continue
            for frame in frames:
                self._file.check(frame.width, frame.height)  # may change on the way
                self._work += frame.width * frame.height
                if self._work > _MOST_WORK:
                    raise VideoTooHeavy(self._file.name)
                if frame.pts is not None:
                    yield frame


def _pixel_aspect(stream: Any) -> Fraction:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return aspect if 1 <= max(aspect, 1 / aspect) <= _STRANGEST_PIXEL else Fraction(1)


def _picture(frame: Any, aspect: Fraction, most_pixels: int) -> PILImage.Image:
    width, height = _fitted(frame.width, frame.height, aspect, most_pixels)
    rgb = frame.reformat(
        width,
        height,
        "rgb24",
        src_colorspace=_colours(frame),
        interpolation=_EXACTLY,
    )
    image = rgb.to_image()
    turn = _TURN_UPRIGHT.get(_display_signs(frame))
    return canonicalise(image if turn is None else image.transpose(turn))


def _fitted(width: int, height: int, aspect: Fraction, most_pixels: int) -> tuple[int, int]:
    wide = width * float(aspect)
    scale = min(1.0, math.sqrt(most_pixels / (wide * height)))
    return max(1, round(wide * scale)), max(1, round(height * scale))


def _colours(frame: Any) -> int | None:
    unnamed = frame.colorspace == _UNSPECIFIED
    return _BT709 if unnamed and frame.height >= _HD else None


def _display_signs(frame: Any) -> tuple[int, int, int, int]:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return (1, 0, 0, 1)
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return _sign(a), _sign(b), _sign(c), _sign(d)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
