"""Uploaded pictures and their thumbnails on disk: bounded in bytes and in time.

Gradio removes uploads when it likes; a conversation needs its pictures until it ends.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections import OrderedDict
from pathlib import Path

from PIL import Image as PILImage

log = logging.getLogger(__name__)

_THUMBNAIL_SIDE = 384  # pixels; the page shows at most half of it
_THUMBNAIL_BYTES = 100_000
_SWEEP_EVERY_S = 60.0


class MediaStore:
    """Files by the SHA-256 of their bytes, least recently used out first. Thread-safe.

    Several processes may share the directory: a file that another one removed is simply gone.
    """

    def __init__(self, directory: Path, max_bytes: int, ttl_s: float) -> None:
        self._originals = directory / "originals"
        self.thumbnails = directory / "thumbnails"
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        for folder in (self._originals, self.thumbnails):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sizes = self._scan()
        self._bytes = sum(self._sizes.values())
        self._swept_at = 0.0
        self._evict()

    def put(self, id: str, data: bytes) -> None:
        """Keep an original. Raises OSError when it cannot be written."""
        path = self._originals / id
        with self._lock:
            known = id in self._sizes and path.exists()
        if known:
            self._touch(id)
            return
        _write_whole(path, data)
        with self._lock:
            self._bytes += len(data) - self._sizes.pop(id, 0)
            self._sizes[id] = len(data)
        self._evict()

    def get(self, id: str) -> bytes | None:
        """The original, or None when it is no longer kept."""
        try:
            data = (self._originals / id).read_bytes()
        except OSError:
            return None
        self._touch(id)
        return data

    def thumbnail(self, id: str) -> Path | None:
        """Where the thumbnail lies, or None when there is none yet."""
        path = self._thumbnail_path(id)
        return path if path.exists() else None

    def make_thumbnail(self, id: str, picture: PILImage.Image) -> Path:
        """Write a JPEG of at most 100 kB and 384 pixels a side. Raises OSError."""
        small = picture.copy() if max(picture.size) <= _THUMBNAIL_SIDE else _shrink(picture)
        path = self._thumbnail_path(id)
        for quality in (85, 60, 30):
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=quality)
            if encoded.tell() <= _THUMBNAIL_BYTES:
                break
        _write_whole(path, encoded.getvalue())
        return path

    def _thumbnail_path(self, id: str) -> Path:
        return self.thumbnails / f"{id}.jpg"

    def _touch(self, id: str) -> None:
        with self._lock:
            if id in self._sizes:
                self._sizes.move_to_end(id)
        try:
            os.utime(self._originals / id)
        except OSError:
            log.debug("%s is gone", id)

    def _scan(self) -> OrderedDict[str, int]:
        """Sizes of what is there, oldest use first."""
        found = [(p.stat(), p) for p in self._originals.iterdir() if not p.name.endswith(".part")]
        found.sort(key=lambda item: item[0].st_mtime)
        return OrderedDict((path.name, stat.st_size) for stat, path in found)

    def _evict(self) -> None:
        with self._lock:
            gone = self._expired() if time.time() > self._swept_at + _SWEEP_EVERY_S else []
            over = self._bytes - sum(self._sizes[id] for id in gone) - self._max_bytes
            for id in [id for id in self._sizes if id not in set(gone)][:-1]:  # never the newest
                if over <= 0:
                    break
                over -= self._sizes[id]
                gone.append(id)
            for id in gone:
                self._bytes -= self._sizes.pop(id)
        for id in gone:
            (self._originals / id).unlink(missing_ok=True)
            self._thumbnail_path(id).unlink(missing_ok=True)

    def _expired(self) -> list[str]:
        self._swept_at = time.time()
        oldest = self._swept_at - self._ttl_s
        return [id for id in self._sizes if _mtime(self._originals / id) < oldest]


def _shrink(picture: PILImage.Image) -> PILImage.Image:
    """Four pixels of a large picture make one: to average all costs as much as hashing them."""
    scale = _THUMBNAIL_SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    if max(picture.size) > 3 * _THUMBNAIL_SIDE:
        nearest = PILImage.Resampling.NEAREST
        return picture.resize((2 * width, 2 * height), nearest).reduce(2)
    return picture.resize((width, height), PILImage.Resampling.BILINEAR)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _write_whole(path: Path, data: bytes) -> None:
    """The whole file or none, whoever else writes it."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
