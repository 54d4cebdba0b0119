"""Uploaded pictures and their thumbnails on disk: bounded in bytes and in time.

Gradio removes uploads when it likes; a conversation needs its pictures until it ends.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from weakref import WeakKeyDictionary

from PIL import Image as PILImage

from qwen_ui.bounded_folder import BoundedFolder

_THUMBNAIL_SIDE = 384  # pixels; the page shows at most half of it
_THUMBNAIL_BYTES = 100_000
_THUMBNAILS_SHARE = 8  # of the budget, one part in so many


class MediaStore:
    """Originals and their thumbnails by the digest of the pixels: other bytes of a known picture
    find what is there. Of a video the original lies under the SHA-256 of its bytes. Thread-safe.
    """

    def __init__(self, directory: Path, max_bytes: int, ttl_s: float) -> None:
        self.thumbnails = directory / "thumbnails"
        self._originals = BoundedFolder(directory / "originals", max_bytes, ttl_s)
        self._small = BoundedFolder(self.thumbnails, max_bytes // _THUMBNAILS_SHARE, ttl_s)
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[object, tuple[str, ...]] = WeakKeyDictionary()

    def hold(self, holder: object, *digests: str) -> None:
        """`clear` leaves these for as long as `holder` lives: a conversation still shows them."""
        with self._lock:
            self._held[holder] = digests

    def clear(self) -> None:
        """Remove every original and thumbnail that nobody in this process holds."""
        with self._lock:
            held = {digest for digests in self._held.values() for digest in digests}
        self._originals.clear(held)
        self._small.clear({_thumbnail(digest) for digest in held})

    def put(self, digest: str, data: bytes) -> None:
        """Keep an original, unless one is. Raises OSError when it cannot be written."""
        if self._originals.find(digest) is None:
            self._originals.put(digest, data)

    def get(self, digest: str) -> bytes | None:
        """The original, or None when it is no longer kept."""
        path = self._originals.find(digest)
        try:
            return path.read_bytes() if path else None
        except OSError:  # removed in this moment
            return None

    def remove(self, digest: str) -> None:
        """Keep this original no longer."""
        self._originals.remove(digest)

    def thumbnail(self, digest: str) -> Path | None:
        """Where the thumbnail lies, or None when there is none (any more)."""
        return self._small.find(_thumbnail(digest))

    def make_thumbnail(self, digest: str, picture: PILImage.Image) -> Path:
        """Write a JPEG of at most 100 kB and 384 pixels a side; its path. Raises OSError."""
        small = picture.copy() if max(picture.size) <= _THUMBNAIL_SIDE else _shrink(picture)
        for quality in (85, 60, 30):
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=quality)
            if encoded.tell() <= _THUMBNAIL_BYTES:
                break
        return self._small.put(_thumbnail(digest), encoded.getvalue())


def _thumbnail(digest: str) -> str:
    return f"{digest}.jpg"


def _shrink(picture: PILImage.Image) -> PILImage.Image:
    """Four pixels of a large picture make one: to average all costs as much as hashing them."""
    scale = _THUMBNAIL_SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    if max(picture.size) > 3 * _THUMBNAIL_SIDE:
        nearest = PILImage.Resampling.NEAREST
        return picture.resize((2 * width, 2 * height), nearest).reduce(2)
    return picture.resize((width, height), PILImage.Resampling.BILINEAR)
