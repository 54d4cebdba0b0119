"""The rows of the disk store: a `diskcache.Cache` that cannot unpickle and knows many tags.

Upstream unpickles rows that say they are pickles (CVE-2025-69872); whoever can write the file
could run code. `BytesDisk` refuses such rows, as keys and as values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from cache_store.errors import CorruptEntry

# diskcache keeps one tag per row; ours says [cost in seconds, tag, tag, ...] in JSON. `Tags` finds
# rows by a hash of each tag: hash proposes, the tags in the row decide.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS Tags (tag INTEGER NOT NULL, entry INTEGER NOT NULL,"
    " PRIMARY KEY (tag, entry)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS Tags_entry ON Tags (entry)",
    "CREATE TRIGGER IF NOT EXISTS Tags_delete AFTER DELETE ON Cache FOR EACH ROW"
    " BEGIN DELETE FROM Tags WHERE entry = OLD.rowid; END",
)
_PAGE = 500  # names read at once


class Label(NamedTuple):
    """What a row's tag column says."""

    cost_s: float
    tags: tuple[str, ...]


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
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


class Rows(diskcache.Cache):  # type: ignore[misc]
    """The database of one directory. Raises what sqlite3, diskcache and the file system raise."""

    def __init__(self, directory: str, **settings: Any) -> None:
        super().__init__(directory, disk=BytesDisk, **settings)
        for statement in _SCHEMA:
            self._sql_retry(statement)

    def read(self, name: str) -> tuple[bytes, float, Label] | None:
        """Value, end and label; None when there is no such row or it says no end."""
        value, expires_at, label = self.get(name, expire_time=True, tag=True)
        if value is None or expires_at is None:
            return None
        return value, expires_at, _load(label)

    def write(self, name: str, value: bytes, keep_s: float, label: Label) -> None:
        """Row and tags in one transaction."""
        with self._transact() as (sql, _):
            self.set(name, value, expire=keep_s, tag=json.dumps([label.cost_s, *label.tags]))
            ((entry,),) = sql("SELECT rowid FROM Cache WHERE key = ? AND raw = 1", (name,))
            sql("DELETE FROM Tags WHERE entry = ?", (entry,))
            for tag in label.tags:
                sql("INSERT OR IGNORE INTO Tags VALUES (?, ?)", (_hash(tag), entry))

    def forget(self, tag: str) -> int:
        """Delete every row with the tag in one transaction; how many there were."""
        with self._transact() as (sql, cleanup):
            found = [
                (entry, filename)
                for entry, filename, label in sql(
                    "SELECT c.rowid, c.filename, c.tag FROM Tags t JOIN Cache c"
                    " ON c.rowid = t.entry WHERE t.tag = ?",
                    (_hash(tag),),
                )
                if tag in _tags(label)
            ]
            for entry, filename in found:
                sql("DELETE FROM Cache WHERE rowid = ?", (entry,))
                cleanup(filename)
        return len(found)

    def names(self, tag: str | None, ends_after: float) -> Iterator[str]:
        """Names, page by page; no lock is held between pages."""
        source, match = "Cache c", ""
        if tag is not None:
            source, match = "Tags t JOIN Cache c ON c.rowid = t.entry", "t.tag = ? AND "
        select = (
            f"SELECT c.rowid, c.key, c.tag FROM {source} WHERE {match} c.rowid > ?"
            " AND c.raw = 1 AND c.expire_time > ? ORDER BY c.rowid LIMIT ?"
        )
        values = [] if tag is None else [_hash(tag)]
        last = -1
        while rows := self._sql(select, (*values, last, ends_after, _PAGE)).fetchall():
            last = rows[-1][0]
            for _, name, label in rows:
                if type(name) is str and (tag is None or tag in _tags(label)):
                    yield name


def _tags(label: Any) -> tuple[str, ...]:
    """The tags of a row; none when its label is not ours."""
    try:
        return _load(label).tags
    except CorruptEntry:
        return ()


def _hash(tag: str) -> int:
    digest = hashlib.blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _load(label: Any) -> Label:
    """Raises CorruptEntry for a label that `Rows.write` did not write."""
    try:
        cost_s, *tags = json.loads(label)
        return Label(float(cost_s), tuple(str(tag) for tag in tags))
    except (ValueError, TypeError) as error:
        raise CorruptEntry(f"a row's label is not ours: {error}") from error
