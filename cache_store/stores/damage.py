"""A damaged database: how it is told from a busy or full one, and how it is put aside.

Nothing is checked when a file is opened: `PRAGMA quick_check` takes 0.2 s for 200 MB. SQLite finds
broken pages when it reads them, and what it cannot find (a flipped bit in a value) the checksum of
each entry does. So damage is dealt with when it is met.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_ASIDE = re.compile(r"damaged-\d+")
_OURS = re.compile(r"cache\.db(-wal|-shm|-journal)?|forgotten|[0-9a-f]{2}")
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_DAMAGE_EXTENDED = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED}


class Damaged(sqlite3.DatabaseError):
    """SQLite reads the file without complaint, but what must be in it is not."""


def is_damage(error: BaseException) -> bool:
    """Whether the error, or one that it followed from, says that the file is not sound."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, Damaged):
            return True
        code = getattr(chain, "sqlite_errorcode", 0)
        if code & 0xFF in _DAMAGE or code in _DAMAGE_EXTENDED or "no such table" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, however it is named; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Only one process or thread at a time is in here, for one directory."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def move_aside(directory: Path, error: Exception) -> None:
    """The database and its value files (without it nobody would remove those); the newest is kept.
    What else lies in the directory is somebody else's.

    Call it `alone`.
    """
    there = list(directory.iterdir())
    for old in there:
        if _ASIDE.fullmatch(old.name):
            shutil.rmtree(old, ignore_errors=True)
    aside = directory / f"damaged-{time.time_ns()}"
    kept = [path for path in there if _OURS.fullmatch(path.name)]
    aside.mkdir(mode=0o700)
    for path in kept:
        path.rename(aside / path.name)
    log.warning("the answer cache was damaged (%s); it was moved to %s", error, aside)
