"""From uploaded bytes to a picture: limits by the header, the digest by memo, pixels on demand."""

from __future__ import annotations

import hashlib
import logging
import math
from functools import partial
from pathlib import Path

from PIL import Image as PILImage

from cache_store import images as canonical
from cache_store.errors import InvalidPicture, PictureTooLarge
from cache_store.memo import DigestMemo, Remembered
from qwen_ui.errors import (
    BadPicture,
    FileTooBig,
    GenerationFailed,
    PictureGone,
    PictureNarrow,
    PictureTooBig,
    PictureVast,
    QwenUIError,
)
from qwen_ui.media import MediaStore
from qwen_ui.types import Image, Picture

log = logging.getLogger(__name__)

_NARROWEST = 200  # one side to the other: `smart_resize` of Qwen's processors refuses more


class ImageOpener:
    """Opens uploads. A file that was seen before is not decoded again. Thread-safe."""

    def __init__(
        self, memo: DigestMemo, media: MediaStore, *, max_bytes: int, max_pixels: int
    ) -> None:
        self._memo = memo
        self._media = media
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels

    def open(self, data: bytes, name: str) -> Picture:
        """Accept a picture file. `name` is what errors call it.

        Raises errors.FileTooBig, PictureTooBig and PictureVast (before decoding), PictureNarrow,
        BadPicture.
        """
        if len(data) > self._max_bytes:
            raise FileTooBig(name, megabytes(len(data)), megabytes(self._max_bytes))
        id = hashlib.sha256(data).hexdigest()
        try:
            known = self._memo.get(id)
            thumbnail = self._media.thumbnail(known.digest) if known else None
            if known is None or thumbnail is None:
                known, thumbnail = self._decode(id, data)
            if known.width * known.height > self._max_pixels:
                raise PictureTooLarge(known.width, known.height, self._max_pixels)
            if max(known.width, known.height) > _NARROWEST * min(known.width, known.height):
                raise PictureNarrow(name)
            load = partial(self._load, id, known.digest)
            self._media.hold(load, known.digest)
            self._media.put(known.digest, data)  # nothing where other bytes of it are kept
        except (InvalidPicture, OSError) as error:
            raise self._explain(error, name) from error
        image = Image(known.digest, known.width, known.height, load)
        return Picture(id, name, image, thumbnail, known.frames)

    def _decode(self, id: str, data: bytes) -> tuple[Remembered, Path]:
        """Remember the pixels of a file, and have their thumbnail; other bytes may have made it."""
        pixels = canonical.decode(data, self._max_pixels)
        known = _remembered(pixels)
        self._memo.put(id, known)
        thumbnail = self._media.thumbnail(known.digest)
        return known, thumbnail or self._media.make_thumbnail(known.digest, pixels)

    def _load(self, id: str, digest: str) -> PILImage.Image:
        data = self._media.get(digest)
        if data is None:
            raise PictureGone
        pixels = canonical.decode(data, self._max_pixels)
        if canonical.digest(pixels) != digest:  # what is hashed is what is run, or nothing is
            self._memo.forget(id)
            self._media.remove(digest)
            raise GenerationFailed("a picture's remembered digest was wrong; ask again")
        return pixels

    def _explain(self, error: InvalidPicture | OSError, name: str) -> QwenUIError:
        match error:
            case PictureTooLarge():
                limit = round(self._max_pixels / 1e6)
                if not error.width:
                    return PictureVast(name, limit)
                return PictureTooBig(name, error.width, error.height, limit)
            case InvalidPicture():
                log.info("%s: %s", name, error)
                return BadPicture(name)
            case OSError():
                log.error("%s cannot be kept: %s", name, error)
                return GenerationFailed(f"{name} cannot be kept ({error.strerror}); tell the host")


def _remembered(pixels: PILImage.Image) -> Remembered:
    frames = int(pixels.info.get("frames", 1))
    return Remembered(canonical.digest(pixels), pixels.width, pixels.height, frames)


def megabytes(count: int) -> str:
    """Rounded up, so that what is over a limit never reads like the limit."""
    return f"{math.ceil(count / 2**20 * 10) / 10:g}"
