"""Opens video files through PyAV, the extra `video`. Bytes decide what is opened, never a name."""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from qwen_ui.video_errors import (
    BadVideo,
    VideoNotSupported,
    VideoRefused,
    VideoTooBig,
    VideoWithoutFrames,
)

log = logging.getLogger(__name__)

# What cameras, phones and browsers write. Every other demuxer and decoder of FFmpeg stays shut:
# some of them open further files by name.
_DECODERS = (
    *("h264", "hevc", "mpeg4", "mjpeg", "prores"),
    *("vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d"),
)
_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": ",".join(_DECODERS)}
_MATROSKA = b"\x1a\x45\xdf\xa3"  # RFC 8794, the ID of the EBML header
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free")  # first boxes before there was `ftyp`
# pictures in the same boxes: HEIC and AVIF
_STILLS = (b"hei", b"hev", b"mif", b"msf", b"avi")


@dataclass(frozen=True, slots=True)
class VideoFile:
    """Bytes that may be a video of `max_pixels` a frame at most; `name` is what errors call it."""

    data: bytes
    name: str
    max_pixels: int

    @contextmanager
    def opened(self) -> Iterator[tuple[Any, Any]]:
        """The `av` container and the track of moving pictures in it, ready to be decoded.

        Whatever is raised while it is open becomes a VideoRefused.
        """
        demuxer = _demuxer(self.data)
        if demuxer is None:  # PyAV would try them all
            raise BadVideo(self.name)
        av, file = _pyav(self.name), io.BytesIO(self.data)
        try:
            with av.open(
                file, format=demuxer, options=_OPTIONS, metadata_errors="replace"
            ) as container:
                yield container, self._pictures_of(container)
        except VideoRefused:
            raise
        except Exception as error:  # demuxers and decoders raise nearly everything on hostile bytes
            log.info("%s: %s: %s", self.name, type(error).__name__, error)
            raise BadVideo(self.name) from error

    def _pictures_of(self, container: Any) -> Any:
        cover = _pyav(self.name).stream.Disposition.attached_pic  # of a song
        streams = [s for s in container.streams.video if not s.disposition & cover]
        if not streams:
            raise VideoWithoutFrames(self.name)
        codec = streams[0].codec_context
        if codec is None or codec.name not in _DECODERS:
            raise ValueError(f"no decoder for {codec.name if codec else 'the pictures'}")
        self.check(codec.width, codec.height)
        codec.options = {"max_pixels": str(self.max_pixels)}  # headers promise anything
        codec.thread_type = "AUTO"
        return streams[0]

    def check(self, width: int, height: int) -> None:
        """The size of a frame. Raises VideoTooBig."""
        if width * height > self.max_pixels:
            raise VideoTooBig(self.name, width, height, round(self.max_pixels / 1e6))


def looks_like_video(data: bytes) -> bool:
    """Whether a file says that it is MP4, MOV, WebM or Matroska."""
    return _demuxer(data) is not None


@cache
def decoders() -> str:
    """What decides how a frame comes out; empty where PyAV is missing."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        return ""
    libraries = (f"{name} {'.'.join(map(str, v))}" for name, v in av.library_versions.items())
    return "/".join((f"av {av.__version__}", *libraries))


def _pyav(name: str) -> Any:
    """Imported when it is first needed."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise VideoNotSupported(name) from error


def _demuxer(data: bytes) -> str | None:
    if data.startswith(_MATROSKA):
        return "matroska"
    box, brand = data[4:8], data[8:12]
    if box == b"ftyp":
        return None if brand.startswith(_STILLS) else "mov"
    return "mov" if box in _QUICKTIME else None
