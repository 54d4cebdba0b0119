"""Videos made on the spot. A test that imports this is skipped where PyAV is missing."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from PIL import Image

av: Any = pytest.importorskip("av", reason="PyAV, the extra `video`, is not installed")

_TICKS = 1000  # of a second


def grey(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A plain picture that `number_of` recognises after lossy compression: 0 to 21."""
    return Image.new("RGB", size, (20 + 10 * number,) * 3)


def number_of(picture: Image.Image) -> int:
    """Which `grey` a picture shows."""
    level = picture.convert("L").getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(level, int)
    return round((level - 20) / 10)


def corners(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red, green, blue and white quarters, from the upper left to the lower right."""
    small = Image.new("RGB", (2, 2))
    small.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    return small.resize(size, Image.Resampling.NEAREST)


def corners_of(picture: Image.Image) -> str:
    """The initials of its quarters' colours, in the same order."""
    letters = ""
    for y in (1, 3):
        for x in (1, 3):
            pixel = picture.getpixel((picture.width * x // 4, picture.height * y // 4))
            assert isinstance(pixel, tuple)
            bright = "".join(str(int(value > 128)) for value in pixel)
            letters += {"100": "r", "010": "g", "001": "b", "111": "w"}[bright]
    return letters


def seconds_of_grey(count: int, fps: int = 10) -> Iterator[Image.Image]:
    """`fps` frames for each second, of the grey with its number."""
    for second in range(count):
        for _ in range(fps):
            yield grey(second % 22)


def video(
    pictures: Iterator[Image.Image] | Sequence[Image.Image] | None = None,
    fps: int = 10,
    *,
    times: Sequence[float] | None = None,
    kind: str = "mp4",
    codec: str = "libx264",
    key_every: int = 10,
    aspect: Fraction | None = None,
    turned: tuple[int, bool] | None = None,
    pixels: str = "yuv420p",
    sound: bool = False,
) -> bytes:
    """A file of these pictures (four seconds of grey): `fps` a second, or each at its time.

    `turned`: degrees counterclockwise that a player turns it, and whether it mirrors it then.
    """
    pictures = list(seconds_of_grey(4, fps) if pictures is None else pictures)
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = pixels
        stream.gop_size = key_every
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        if turned is not None:
            degrees, mirrored = turned
            stream.set_display_rotation(degrees, hflip=mirrored)
        tone = container.add_stream("libopus", rate=48_000) if sound else None
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            at_s = place / fps if times is None else times[place]
            frame.pts, frame.time_base = round(at_s * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            container.mux(tone.encode(_silence()))
            container.mux(tone.encode(None))
    return file.getvalue()


def only_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=48_000)
        container.mux(tone.encode(_silence()))
        container.mux(tone.encode(None))
    return file.getvalue()


def no_frame() -> bytes:
    """A video track without a packet, beside sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        tone = container.add_stream("aac", rate=48_000)
        container.mux(tone.encode(_silence()))
        container.mux(tone.encode(None))
    return file.getvalue()


def vast(width: int = 7680, height: int = 4320) -> bytes:
    """One frame of that size."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


def growing(small: Image.Image, large: Image.Image) -> bytes:
    """A WebM whose header tells the size of `small`; after a second its frames are `large`."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = *small.size, "yuv420p"
        other = av.CodecContext.create("libvpx", "w")
        other.width, other.height, other.pix_fmt = *large.size, "yuv420p"
        other.time_base = Fraction(1, 10)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(small)))
        container.mux(stream.encode(None))
        frames = [av.VideoFrame.from_image(large) for _ in range(10)]
        for place, frame in enumerate(frames):
            frame.pts = place
        for packet in [p for frame in [*frames, None] for p in other.encode(frame)]:
            packet.time_base = Fraction(1, 10)
            packet.pts = packet.dts = (packet.pts or 0) + 10
            packet.stream = stream
            container.mux(packet)
    return file.getvalue()


def with_length(data: bytes, seconds: int) -> bytes:
    """An MP4 whose headers (ISO/IEC 14496-12: `mvhd`, `mdhd`, `tkhd`, version 0) tell a lie."""
    for box, scale_at, length_at in ((b"mvhd", 16, 20), (b"mdhd", 16, 20), (b"tkhd", None, 24)):
        at = data.index(box)
        scale = _TICKS
        if scale_at is not None:
            (scale,) = struct.unpack_from(">I", data, at + scale_at)
        length = struct.pack(">I", seconds * scale)
        data = data[: at + length_at] + length + data[at + length_at + 4 :]
    return data


def _silence() -> Any:
    frame = av.AudioFrame(format="fltp", layout="stereo", samples=960)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    return frame
