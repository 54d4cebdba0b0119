"""A folder of files, bounded in bytes and in time."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_SWEEP_EVERY_S = 60.0
_TOUCH_EVERY_S = 60.0  # a use goes to disk no more often: that costs a hit more than finding it


class BoundedFolder:
    """Whole files by name, least recently used out first, none kept past its time. Thread-safe.

    Several processes may share the folder: a file that another one removed is simply gone, one
    that another wrote is found. A file's age is that of its last use, kept over restarts to within
    a minute.
    """

    def __init__(self, path: Path, max_bytes: int, ttl_s: float) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sizes = self._scan()
        self._bytes = sum(self._sizes.values())
        self._touched: dict[str, float] = {}  # when its last use was written to disk
        self._swept_at = 0.0
        self._evict()

    def find(self, name: str) -> Path | None:
        """Where the file lies, or None when it is not kept; counts as a use."""
        path = self._path / name
        try:
            size = path.stat().st_size
        except OSError:
            self._drop(name)
            return None
        now = time.time()
        with self._lock:
            self._account(name, size)
            due = now > self._touched.get(name, 0.0) + _TOUCH_EVERY_S
            if due:
                self._touched[name] = now
        if due:
            _touch(path)
        return path

    def put(self, name: str, data: bytes) -> Path:
        """Keep a file, in place of one of that name. Raises OSError when it cannot be written."""
        path = self._path / name
        _write_whole(path, data)
        with self._lock:
            self._account(name, len(data))
            self._touched[name] = time.time()
        self._evict()
        return path

    def remove(self, name: str) -> None:
        """Keep it no longer."""
        self._drop(name)
        (self._path / name).unlink(missing_ok=True)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Keep nothing but these, whoever wrote it."""
        for name in self._scan():
            if name not in keep:
                self.remove(name)

    def _account(self, name: str, size: int) -> None:
        """It is there, of this size, and was used last."""
        self._bytes += size - self._sizes.pop(name, 0)
        self._sizes[name] = size

    def _drop(self, name: str) -> None:
        with self._lock:
            self._bytes -= self._sizes.pop(name, 0)
            self._touched.pop(name, None)

    def _scan(self) -> OrderedDict[str, int]:
        """Sizes of what is there, oldest use first."""
        found = []
        for path in self._path.iterdir():
            with suppress(OSError):  # removed in this moment
                if path.suffix != ".part":
                    found.append((path.stat(), path))
        found.sort(key=lambda item: item[0].st_mtime)
        return OrderedDict((path.name, stat.st_size) for stat, path in found)

    def _evict(self) -> None:
        with self._lock:
            gone = self._expired() if time.time() > self._swept_at + _SWEEP_EVERY_S else []
            gone += self._over_budget(set(gone))
        for name in gone:
            self.remove(name)

    def _over_budget(self, gone: set[str]) -> list[str]:
        """What must go beside `gone`: the newest stays, however large it is."""
        over = self._bytes - sum(self._sizes[name] for name in gone) - self._max_bytes
        if over <= 0:
            return []
        names = []
        for name in [name for name in self._sizes if name not in gone][:-1]:
            names.append(name)
            over -= self._sizes[name]
            if over <= 0:
                break
        return names

    def _expired(self) -> list[str]:
        self._swept_at = time.time()
        oldest = self._swept_at - self._ttl_s
        return [name for name in self._sizes if _mtime(self._path / name) < oldest]


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        log.debug("%s is gone", path)


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
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
