"""A `diskcache.Cache` held to what the disk store needs of it: nothing in its file is believed, and
nothing in it can make a call fail otherwise than as sqlite3, diskcache and the file system fail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import diskcache

from cache_store.stores.bytes_disk import BytesDisk
from cache_store.stores.damage import Damaged

PAGE = 500  # rows handled at once
_LARGEST = 2**50  # bytes; no row says more
_ODD = (TypeError, ValueError, AttributeError)  # what upstream raises at settings of other types


class Tables(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """Bytes by name, files and transactions; what is kept, and how long, is for others."""

    def __init__(self, directory: str, timeout_s: float, policy: str) -> None:
        try:
            super().__init__(
                directory,
                disk=BytesDisk,
                timeout=timeout_s,
                eviction_policy=policy,
                cull_limit=0,  # upstream's culling is never used
                statistics=0,
                sqlite_auto_vacuum=2,  # incremental: upstream's full one moves pages at each delete
                sqlite_cache_size=2**11,  # pages, in each thread
                sqlite_mmap_size=0,  # a file truncated by others must be an error, not a SIGBUS
            )
            self._check_settings()
        except _ODD as error:
            diskcache.Cache.close(self)
            raise Damaged("its settings are not ours") from error

    def entries(self) -> int:
        """How many rows there are."""
        return self._counted("count")

    def clear(self) -> int:
        """Delete every row, a page in each transaction; how many there were."""
        select, count = "SELECT rowid, filename FROM Cache LIMIT ?", 0
        while True:
            with self._transact() as (sql, cleanup):
                found = sql(select, (PAGE,)).fetchall()
                count += delete(sql, cleanup, found)
            if not found:
                return count

    def abandon(self) -> None:
        """End a transaction that an error left open: else this thread could never begin another."""
        connection = getattr(self._local, "con", None)
        if connection is not None and connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.rollback()

    @property
    def _con(self) -> sqlite3.Connection:
        try:
            connection: sqlite3.Connection = super()._con
        except _ODD as error:  # it reads the settings
            raise Damaged("its settings are not ours") from error
        connection.text_factory = _text
        return connection

    def _check_settings(self) -> None:
        """Upstream has made attributes of whatever stood there."""
        ours = diskcache.core.DEFAULT_SETTINGS | diskcache.core.METADATA
        for name, value in self._sql("SELECT key, value FROM Settings"):
            if name not in ours or not isinstance(value, type(ours[name])):
                raise ValueError(f"{name}: {value!r}")

    def _counted(self, what: str) -> int:
        """What triggers keep of all rows; counted anew where a planted row has spoilt it."""
        select = "SELECT value FROM Settings WHERE key = ?"
        found = self._sql(select, (what,)).fetchone()
        if found is None or type(found[0]) is not int or found[0] < 0:
            self._recount()
            found = self._sql(select, (what,)).fetchone()
        if found is None:
            raise Damaged("a count is lost")
        return int(found[0])

    def _recount(self) -> None:
        with self._transact() as (sql, cleanup):
            found = sql(
                "SELECT rowid, filename FROM Cache WHERE typeof(size) != 'integer' OR size < 0"
                " OR size > ?", (_LARGEST,),
            ).fetchall()  # fmt: skip
            delete(sql, cleanup, found)
            sql("UPDATE Settings SET value = (SELECT count(*) FROM Cache) WHERE key = 'count'")
            sql("UPDATE Settings SET value = (SELECT ifnull(sum(size), 0) FROM Cache)"
                " WHERE key = 'size'")  # fmt: skip

    @contextmanager
    def _transact(self, retry: bool = False, filename: str | None = None) -> Iterator[Any]:
        """As upstream, but files of values go with their rows where transactions are nested too:
        old ones after the outermost commit, new ones when there is none. Upstream removes the old
        ones when the inner one ends: a process killed before the commit had lost them.
        """
        outer = getattr(self._local, "files", None)
        if outer is not None:
            written, cleanup = outer
            written.append(filename)
            with super()._transact(retry, filename) as (sql, _):
                yield sql, cleanup
            return
        written = [filename]
        try:
            with super()._transact(retry, filename) as (sql, cleanup):
                self._local.files = written, cleanup
                yield sql, cleanup
        except BaseException:
            for name in filter(None, written):
                self._disk.remove(name)
            raise
        finally:
            self._local.files = None


def delete(sql: Any, cleanup: Any, rows: list[tuple[int, str | None]]) -> int:
    """Delete rows, and their files after the commit; how many."""
    for entry, filename in rows:
        sql("DELETE FROM Cache WHERE rowid = ?", (entry,))
        cleanup(filename)
    return len(rows)


def _text(data: bytes) -> str:
    """A text of the database, which need not be UTF-8 where somebody else wrote it."""
    return data.decode("utf-8", "replace")
