"""One SQLite file for what eviction must not take: statistics and remembered digests."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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


class Database:
    """A small SQLite file shared by threads (one connection, one lock) and by processes.

    Losing it loses counters and a little speed, never an answer: when the file cannot be used,
    everything goes on in memory, and the log says so once.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._failed = False
        self._connection = self._open(path) if path else _connect(":memory:")

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query; none when the file has failed."""
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self._report(error)
            return []

    def write(self, statements: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> bool:
        """Each (statement, rows of values), all in one transaction. False when it failed."""
        try:
            with self._lock, self._connection:
                for statement, rows in statements:
                    self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            self._report(error)
            return False
        self._failed = False
        return True

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                return _connect(str(path))
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.warning("%s was damaged (%s) and moved aside", path, error)
                path.rename(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))
                return _connect(str(path))
        except (sqlite3.Error, OSError) as error:
            self._report(error)
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
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
