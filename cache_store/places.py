"""The caches that `python -m cache_store` works on: opened as they are, and never repaired here."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cache_store.cache import ResponseCache
from cache_store.database import Database
from cache_store.errors import CacheStoreError
from cache_store.stores.opening import open_store
from cache_store.stores.tiered import TieredStore

_URL = re.compile(r"(disk|memory|redis|rediss|unix):|.*://")


class Trouble(CacheStoreError):
    """What was asked cannot be done; one sentence that says what to do instead."""


def is_url(where: str) -> bool:
    """Of a store alone: nothing is counted there."""
    return _URL.match(where) is not None


@contextmanager
def opened(where: str, *, must_exist: bool = True) -> Iterator[ResponseCache]:
    """The shared tier alone, a directory's or a URL's: what a command says is done is done for
    everybody, not in memory. A tier that fails is an error, and a damaged file is left as it is.
    """
    if is_url(where):
        url, counts = where, None
        answers = Path(where.removeprefix("disk:")).expanduser()
        directory = answers if where.startswith("disk:") else None
        if where == "memory:":
            raise Trouble("memory: ends with its process: give a directory or the URL of a server")
    else:
        directory = Path(where).expanduser()
        answers, counts = directory / "answers", directory / "meta.sqlite3"
        url = f"disk:{answers}"
    if directory is not None:
        if must_exist and not (answers / "cache.db").is_file():
            raise Trouble(f"there is no cache in {directory}: give the directory of one")
        for file in (answers / "cache.db", counts):
            if file is not None and file.exists():
                _check(file, answers=file is not counts)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_store(url, sys.maxsize, repair=False)) as store:
        store.generation()  # a server is asked for the first time
        tiered = TieredStore(store, None, strict=True)
        with closing(ResponseCache(tiered, Database(counts))) as cache:
            yield cache


def _check(file: Path, *, answers: bool) -> None:
    """Raises Trouble where it is no database, or one that opening would empty."""
    from cache_store.stores.rows import LAYOUT  # which needs diskcache

    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (layout,) = database.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise Trouble(
            f"{file} cannot be read ({error}): a server that is started on it puts damaged files"
            " aside and begins anew"
        ) from error
    if answers and tables and layout != LAYOUT:
        raise Trouble(f"{file} is of another version (layout {layout}): use the one that made it")
