"""One SQLite file for what eviction must not take: statistics and remembered digests."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from cache_store.stores.damage import alone, identity, is_damage

T = TypeVar("T")
log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slots (
    slot INTEGER, name TEXT, value REAL NOT NULL, PRIMARY KEY (slot, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latencies (
    hour INTEGER, name TEXT, bucket INTEGER, count INTEGER NOT NULL,
    PRIMARY KEY (hour, name, bucket)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (
    file TEXT PRIMARY KEY, decoders TEXT NOT NULL, digest TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, frames INTEGER NOT NULL,
    used_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS digests_used_at ON digests (used_at);
CREATE TABLE IF NOT EXISTS videos (
    key TEXT PRIMARY KEY, frames TEXT NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS videos_used_at ON videos (used_at);
"""
_MAX_LATER = 10_000


class Database:
    """A small SQLite file shared by threads (one connection, one lock) and by processes.

    Losing it loses counters and a little speed, never an answer. When the file cannot be used,
    everything goes on in memory, and the log says so once. Nothing is checked on opening (see
    `stores.damage`): a file that turns out damaged, or that somebody removed, is replaced then.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failed = False
        self._later: deque[tuple[str, Sequence[Any]]] = deque(maxlen=_MAX_LATER)
        self._identity: tuple[int, int] | None = None
        self._connection = self._open()

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query; none when the file has failed."""
        try:
            with self._lock:
                return self._use(
                    lambda connection: connection.execute(statement, values).fetchall()
                )
        except (sqlite3.Error, OSError) as error:
            self._report(error)
            return []

    def write(self, statements: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> bool:
        """Each (statement, rows of values), all in one transaction. False when it failed."""
        wanted = [*self._waiting(), *statements]
        try:
            with self._lock:
                self._use(lambda connection: _execute(connection, wanted))
        except (sqlite3.Error, OSError) as error:
            self._report(error)
            return False
        self._failed = False
        return True

    def write_later(self, statement: str, values: Sequence[Any]) -> None:
        """Part of the next `write`, or of `close`; lost with the process, or where that fails.

        Waits for nothing: a commit on the path of a request costs it more than it is worth.
        """
        self._later.append((statement, values))

    def _waiting(self) -> Iterator[tuple[str, Sequence[Sequence[Any]]]]:
        with suppress(IndexError):  # empty; another thread may take some as well
            while True:
                statement, values = self._later.popleft()
                yield statement, [values]

    def close(self) -> None:
        self.write(())
        with self._lock:
            self._connection.close()

    def _use(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """`call(connection)`, once more where the file had to be replaced. The lock is held."""
        if self._path is not None and identity(self._path) != self._identity:
            self._reopen()
        try:
            return call(self._connection)
        except sqlite3.Error as error:
            if self._path is None or not is_damage(error):
                raise
            self._connection.close()
            try:
                _move_aside(self._path, self._identity, error)
            finally:
                self._reopen()
        return call(self._connection)

    def _reopen(self) -> None:
        self._connection.close()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        if self._path is None:
            return _connect(":memory:")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                connection = _connect(str(self._path))
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                _move_aside(self._path, identity(self._path), error)
                connection = _connect(str(self._path))
            self._identity = identity(self._path)
            return connection
        except (sqlite3.Error, OSError) as error:
            self._report(error)
            self._path = None
            return _connect(":memory:")

    def _report(self, error: Exception) -> None:
        if not self._failed:
            log.warning("statistics are not kept: %s", error)
            self._failed = True


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _execute(connection: sqlite3.Connection, statements: Sequence[tuple[str, Any]]) -> None:
    with connection:
        for statement, rows in statements:
            connection.executemany(statement, rows)


def _move_aside(path: Path, which: tuple[int, int] | None, error: Exception) -> None:
    """The file and its journal, unless another process has put another file there already."""
    with alone(path.parent):
        if which is None or identity(path) != which:
            return
        log.warning("%s was damaged (%s) and moved aside", path, error)
        aside = f"{path.name}.damaged-{time.time_ns()}"
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(path.with_name(aside + end))
