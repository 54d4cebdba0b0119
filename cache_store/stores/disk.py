"""L2 on one machine: a directory with an SQLite file, shared by threads and processes."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import diskcache

from cache_store.errors import StoreUnavailable
from cache_store.stores.base import Stored
from cache_store.stores.rows import Label, Rows

log = logging.getLogger(__name__)
T = TypeVar("T")

_LOCK_TIMEOUT_S = 1.0  # how long a write waits for another process's write
_ASIDE = "damaged-"
_FAULTS = (sqlite3.Error, diskcache.Timeout, OSError)


class DiskStore:
    """A directory (mode 0700) with a byte budget; safe for many threads and processes.

    Not on NFS: SQLite's locks do not hold there. A damaged database is moved aside.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._rows = self._open()

    def get(self, name: str) -> Stored | None:
        found = self._guard(lambda rows: rows.read(name))
        if found is None or found[1] <= time.time():
            return None
        value, expires_at, label = found
        return Stored(value, expires_at, label.tags, label.cost_s)

    def put(self, name: str, stored: Stored) -> None:
        keep_s = stored.expires_at - time.time()
        if keep_s > 0:
            label = Label(stored.cost_s, stored.tags)
            self._guard(lambda rows: rows.write(name, stored.value, keep_s, label))
        else:
            self.delete(name)  # what was there before is not the value any more

    def delete(self, name: str) -> None:
        self._guard(lambda rows: rows.delete(name))

    def forget(self, tag: str) -> int:
        return self._guard(lambda rows: rows.forget(tag))

    def clear(self) -> None:
        self._guard(lambda rows: rows.clear())

    def names(self, tag: str | None = None) -> Iterator[str]:
        pages = self._guard(lambda rows: rows.names(tag, time.time()))
        while (name := self._guard(lambda _: next(pages, None))) is not None:
            yield name

    def size(self) -> tuple[int, int]:
        """(entries, bytes of the database and its files)."""
        return self._guard(lambda rows: (len(rows), int(rows.volume())))

    def close(self) -> None:
        self._guard(lambda rows: rows.close())

    def _guard(self, use: Callable[[Rows], T]) -> T:
        try:
            return use(self._rows)
        except _FAULTS as error:
            raise StoreUnavailable(f"{self._directory}: {error}") from error

    def _open(self) -> Rows:
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

    def _connect(self) -> Rows:
        _check(self._directory / "cache.db")
        return Rows(
            str(self._directory),
            timeout=_LOCK_TIMEOUT_S,
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
