"""L2 on one machine: `diskcache` (SQLite), held to bytes, so that nothing is ever unpickled.

Upstream unpickles rows that say they are pickles (CVE-2025-69872); whoever can write the file
could run code. `_BytesDisk` refuses such rows, as keys and as values.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores.base import Stored

log = logging.getLogger(__name__)
T = TypeVar("T")

_LOCK_TIMEOUT_S = 1.0  # how long a write waits for another process's write
_ASIDE = "damaged-"
_FAULTS = (sqlite3.Error, diskcache.Timeout, OSError)


class _BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys are str, values are bytes; everything else is refused, on the way in and out."""

    def put(self, key: Any) -> tuple[Any, bool]:
        if type(key) is not str:
            raise TypeError("keys are str")
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        if not raw or type(key) is not str:
            raise CorruptEntry("a pickled key was refused")
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes:
            raise TypeError("values are bytes")
        return super().store(value, False, key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode not in (MODE_RAW, MODE_BINARY):
            raise CorruptEntry("a pickled value was refused")
        fetched = super().fetch(mode, filename, value, False)
        if type(fetched) is not bytes:
            raise CorruptEntry("a value that is not bytes was refused")
        return fetched


class DiskStore:
    """A directory (mode 0700) with a byte budget; safe for many threads and processes.

    Not on NFS: SQLite's locks do not hold there. A damaged database is moved aside.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._cache = self._open()

    def get(self, name: str) -> Stored | None:
        found = self._guard(lambda cache: cache.get(name, expire_time=True))
        value, expires_at = found
        if value is None or expires_at is None or expires_at <= time.time():
            return None
        return Stored(value, expires_at)

    def put(self, name: str, stored: Stored) -> None:
        keep_s = stored.expires_at - time.time()
        if keep_s > 0:
            self._guard(lambda cache: cache.set(name, stored.value, expire=keep_s))
        else:
            self.delete(name)  # what was there before is not the value any more

    def delete(self, name: str) -> None:
        self._guard(lambda cache: cache.delete(name))

    def clear(self) -> None:
        self._guard(lambda cache: cache.clear())

    def size(self) -> tuple[int, int]:
        """(entries, bytes of the database and its files)."""
        return self._guard(lambda cache: (len(cache), int(cache.volume())))

    def close(self) -> None:
        self._guard(lambda cache: cache.close())

    def _guard(self, use: Callable[[Any], T]) -> T:
        try:
            return use(self._cache)
        except _FAULTS as error:
            raise StoreUnavailable(f"{self._directory}: {error}") from error

    def _open(self) -> Any:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, full or not permitted: the file itself may be sound
                self._move_aside(error)
                return self._connect()
        except _FAULTS as error:
            raise StoreUnavailable(f"{self._directory}: {error}") from error

    def _connect(self) -> Any:
        _check(self._directory / "cache.db")
        return diskcache.Cache(
            str(self._directory),
            timeout=_LOCK_TIMEOUT_S,
            disk=_BytesDisk,
            size_limit=self._max_bytes,
            eviction_policy="least-recently-stored",  # reads stay reads: no write per hit
            statistics=0,
            sqlite_mmap_size=0,  # a file truncated by others must be an error, not a SIGBUS
        )

    def _move_aside(self, error: Exception) -> None:
        """The database and its value files: without it nobody would ever remove those."""
        kept = [path for path in self._directory.iterdir() if not path.name.startswith(_ASIDE)]
        aside = self._directory / f"{_ASIDE}{time.time_ns()}"
        aside.mkdir(mode=0o700)
        for path in kept:
            path.rename(aside / path.name)
        log.warning("the answer cache was damaged (%s); it was moved to %s", error, aside)


def _check(path: Path) -> None:
    """Raises sqlite3.DatabaseError for a damaged file. Measured: 0.2 s for 200 MB."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S)) as database:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
