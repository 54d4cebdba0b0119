"""L2 on one machine: a directory with an SQLite file, shared by threads and processes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import diskcache

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores.base import Stored, named
from cache_store.stores.damage import alone, identity, is_damage, move_aside
from cache_store.stores.labels import Label
from cache_store.stores.losses import Losses
from cache_store.stores.rows import FIRST, Rows
from cache_store.stores.tally import Length, Tally

T = TypeVar("T")

_LOCK_TIMEOUT_S = 1.0  # how long a write waits for another process's write
_BELIEVED_S = 0.5  # how long the tally is, where a process was killed before it could add
_FAULTS = (sqlite3.Error, diskcache.Timeout, OSError)


class _Known(NamedTuple):
    """The generation, and the number of values replaced, when the tally had this length."""

    generation: int
    replaced: object
    length: Length | None
    until: float  # monotonic


class DiskStore:
    """A directory (mode 0700) with a byte budget; safe for many threads and processes.

    Not on NFS: SQLite's locks do not hold there. A database that turns out damaged, or that
    somebody removed, is replaced by a new one, also while it is open; without `repair` it makes
    every call raise StoreUnavailable instead.
    """

    def __init__(self, directory: Path, max_bytes: int, *, repair: bool = True) -> None:
        self._directory = directory
        self._file = directory / "cache.db"
        self._max_bytes = max_bytes
        self._repair = repair
        self._tally = Tally(directory / "forgotten")
        self._known = _Known(0, None, None, 0.0)
        self._losses = Losses()
        self._lock = threading.Lock()
        try:
            self._rows, self._identity = self._open()
        except _FAULTS as error:
            raise StoreUnavailable(f"{directory}: {error}") from error

    def get(self, name: str) -> Stored | None:
        found = self._guard(lambda rows: rows.read(name))
        if found is None:
            return None
        value, expires_at, label = found
        return Stored(value, expires_at, label.tags, label.cost_s)

    def peek(self, name: str) -> Stored | None:
        return self.get(name)  # which is no use: those are told by `touch`

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        keep_s = stored.expires_at - time.time()
        if keep_s <= 0:
            self.delete(name)  # what was there before is not the value any more
            return True
        label = Label(stored.cost_s, stored.tags)
        before = self._guard(Rows.replaced)
        kept = self._guard(lambda rows: rows.write(name, stored.value, keep_s, label, generation))
        if self._guard(Rows.replaced) != before:
            self._guard(lambda _: self._tally.add())  # perhaps for another process: it does no harm
        return kept

    def delete(self, name: str) -> None:
        self._guard(lambda rows: rows.drop(name))

    def forget(self, tag: str) -> int:
        self._renew()  # first: what is written from here on was not to be forgotten
        name = named(tag)
        if name is None:
            count = self._drop_tagged(tag)
        else:
            count = self._guard(lambda rows: rows.drop(name))
        self._renew()  # again: others may have copied what was not yet deleted
        return count

    def clear(self) -> int:
        self._renew()
        count = self._guard(Rows.clear)
        self._renew()
        return count

    def generation(self) -> int:
        length, known = self._tally.length(), self._known
        if length is None or length != known.length or time.monotonic() >= known.until:
            until = time.monotonic() + _BELIEVED_S
            generation, replaced = self._guard(Rows.generation), self._guard(Rows.replaced)
            known = self._known = _Known(generation, replaced, length, until)
        return known.generation

    def replaced(self) -> object:
        return self._known.replaced

    def names(self, tag: str | None = None) -> Iterator[str]:
        name = None if tag is None else named(tag)
        if name is not None:
            with suppress(CorruptEntry):
                yield from [name] if self.get(name) is not None else []
            return
        pages = self._guard(lambda rows: rows.names(tag, time.time()))
        while (found := self._guard(lambda _: next(pages, None))) is not None:
            yield found

    def touch(self, names: Iterable[str]) -> None:
        used = list(names)
        self._guard(lambda rows: rows.touch_all(used))

    def sweep(self) -> None:
        self._guard(Rows.sweep)

    def size(self) -> tuple[int, int]:
        """(entries, bytes of the database in use and of its files)."""
        return self._guard(lambda rows: (rows.entries(), rows.volume()))

    def lost(self) -> Mapping[str, int]:
        return self._losses.take()

    def close(self) -> None:
        self._rows.close()

    def _renew(self) -> None:
        self._guard(Rows.renew)
        self._guard(lambda _: self._tally.add())  # after it: who sees this finds the new one

    def _drop_tagged(self, tag: str) -> int:
        count, after = 0, FIRST
        while True:  # each round is a transaction of its own: others may write in between
            dropped, last = self._guard(partial(Rows.drop_tagged, tag=tag, after=after))
            count += dropped
            if last is None:
                return count
            after = last

    def _guard(self, use: Callable[[Rows], T]) -> T:
        rows = self._rows
        try:
            if identity(self._file) != self._identity:
                rows = self._replace(rows, None)
            try:
                return use(rows)
            except _FAULTS as error:
                rows.abandon()
                if not is_damage(error):
                    raise
                rows = self._replace(rows, error)
            return use(rows)
        except _FAULTS as error:
            rows.abandon()
            raise StoreUnavailable(f"{self._directory}: {_first(error)}") from error

    def _replace(self, rows: Rows, error: Exception | None) -> Rows:
        """Rows of a sound file. The damaged one is moved unless somebody already did so."""
        with self._lock:
            if rows is self._rows:
                if not self._repair:
                    raise error or FileNotFoundError(f"{self._file} was removed or replaced")
                if error is not None and self._directory.is_dir():
                    with alone(self._directory):
                        if identity(self._file) == self._identity:
                            move_aside(self._directory, error)
                self._rows, self._identity = self._open()
            return self._rows

    def _open(self) -> tuple[Rows, tuple[int, int] | None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        try:
            rows = self._connect()
        except _FAULTS as error:
            if not is_damage(error) or not self._repair:
                raise  # locked, full or not permitted: the file itself may be sound
            with alone(self._directory):
                move_aside(self._directory, error)
            rows = self._connect()
        with suppress(OSError):  # without it the database is asked each time
            self._tally.add()  # it may be another database than the one that others know
        return rows, identity(self._file)

    def _connect(self) -> Rows:
        return Rows(str(self._directory), self._max_bytes, _LOCK_TIMEOUT_S, self._losses)


def _first(error: BaseException) -> BaseException:
    """What went wrong: diskcache tells a Timeout instead, or fails to roll back after it."""
    while error.__context__ and (isinstance(error, diskcache.Timeout) or "rollback" in str(error)):
        error = error.__context__
    return error
