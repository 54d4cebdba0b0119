"""The rows of the disk store: many tags to each, a generation, and an order of eviction.

**Eviction** is GreedyDual-Size (Cao and Irani, 1997). A row's rank is `clock + seconds it saves
per byte`; the lowest rank goes first, and the clock then stands at that rank. So a row that nobody
asks for is overtaken by newer ones, and among rows of one age those that save least per byte go
first; among equals, those that were used longest ago. The rank lives in diskcache's
`access_time`; reads write nothing, `touch` renews ranks in batches.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import diskcache

from cache_store.errors import CorruptEntry
from cache_store.stores.base import new_generation
from cache_store.stores.damage import Damaged
from cache_store.stores.labels import Label, dump_label, label_tags, load_label
from cache_store.stores.losses import Losses
from cache_store.stores.tables import PAGE, Tables, delete

# `Tags` finds rows by a hash of each tag: hash proposes, the tags in the row's label decide.
LAYOUT = 2  # of the database; another one is emptied
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS Tags (tag INTEGER NOT NULL, entry INTEGER NOT NULL,"
    " PRIMARY KEY (tag, entry)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS Tags_entry ON Tags (entry)",
    "CREATE TRIGGER IF NOT EXISTS Tags_delete AFTER DELETE ON Cache FOR EACH ROW"
    " BEGIN DELETE FROM Tags WHERE entry = OLD.rowid; END",
    "CREATE TABLE IF NOT EXISTS State (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "INSERT OR IGNORE INTO State VALUES ('clock', 0.0)",
    "INSERT OR IGNORE INTO State VALUES ('replaced', 0)",
)
_POLICY = "seconds-per-byte"
diskcache.EVICTION_POLICY[_POLICY] = {
    "init": "CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache (access_time)",
    "get": None,
    "cull": None,  # `Rows` does it
}
_READ = "SELECT expire_time, tag, mode, filename, value FROM Cache WHERE key = ? AND raw = 1"
_REPLACES = (
    "UPDATE State SET value = value + 1 WHERE name = 'replaced' AND EXISTS"
    " (SELECT 1 FROM Cache WHERE key = ? AND raw = 1 AND expire_time > ?)"
)
FIRST = -(2**63)  # of rowids: planted ones may be negative
_ROW_BYTES = 700  # of names, tags and indexes beside a value; measured
_EVICT_AT_ONCE = 20
_RECENT = 1e-15  # of a rank, for each second: less than any difference in cost, and no tie


class Rows(Tables):
    """The database of one directory. Raises what sqlite3, diskcache and the file system raise."""

    def __init__(self, directory: str, max_bytes: int, timeout_s: float, losses: Losses) -> None:
        super().__init__(directory, timeout_s, _POLICY)
        self._max_bytes = max_bytes
        self._losses = losses
        self._unchecked = 0  # bytes written since the budget was looked at
        ((layout,),) = self._sql("PRAGMA user_version").fetchall()
        if layout != LAYOUT:
            self.clear()
            self._sql_retry(f"PRAGMA user_version = {LAYOUT}")
        for statement in _SCHEMA:
            self._sql_retry(statement)
        first = ("generation", new_generation())
        self._sql_retry("INSERT OR IGNORE INTO State VALUES (?, ?)", first)

    def read(self, name: str) -> tuple[bytes, float, Label] | None:
        """Value, end and label; None when there is no such row, or it has ended. Raises
        CorruptEntry."""
        gone: object = None
        while True:
            found = self._sql(_READ, (name,)).fetchone()
            if found is None:
                return None
            expires_at, label, mode, filename, value = found
            if type(expires_at) is not float:
                raise CorruptEntry("a row's end is no time")
            if expires_at <= time.time():
                return None
            try:
                fetched = self._disk.fetch(mode, filename, value, False)
            except FileNotFoundError as error:
                if filename == gone:
                    raise CorruptEntry("the file of a value is lost") from error
                gone = filename  # replaced or deleted in this moment: what does the row say now?
            else:
                return fetched, expires_at, load_label(label)

    def write(
        self, name: str, value: bytes, keep_s: float, label: Label, generation: int | None
    ) -> bool:
        """Row and tags in one transaction; False when the generation is another one by now, or the
        value has no room in the whole budget."""
        if len(value) > self._max_bytes:
            self.drop(name)
            return False
        evicted: Counter[str] = Counter()
        with self._transact() as (sql, cleanup):
            if generation not in (None, self.generation()):
                return False
            sql(_REPLACES, (name, time.time()))
            self.set(name, value, expire=keep_s, tag=dump_label(label))
            ((entry,),) = sql("SELECT rowid FROM Cache WHERE key = ? AND raw = 1", (name,))
            sql("DELETE FROM Tags WHERE entry = ?", (entry,))
            for tag in label.tags:
                sql("INSERT OR IGNORE INTO Tags VALUES (?, ?)", (_hash(tag), entry))
            self._rank(sql, entry, label.cost_s, len(value))
            self._unchecked += len(value) + _ROW_BYTES
            if self._unchecked > self._max_bytes // 256:
                evicted = self._evict(sql, cleanup)
                self._unchecked = 0
        self._losses.add(**evicted)  # now that it is committed
        return True

    def generation(self) -> int:
        found = self._sql("SELECT value FROM State WHERE name = 'generation'").fetchone()
        if found is None or type(found[0]) is not int:
            raise Damaged("the generation is lost")
        return int(found[0])

    def replaced(self) -> object:
        """How often `write` took the place of a row that had not ended."""
        return self._sql("SELECT value FROM State WHERE name = 'replaced'").fetchone()

    def renew(self) -> None:
        """A new generation."""
        self._sql("UPDATE State SET value = ? WHERE name = 'generation'", (new_generation(),))

    def drop(self, name: str) -> int:
        """Delete a row, ended or not; how many there were."""
        with self._transact() as (sql, cleanup):
            found = sql("SELECT rowid, filename FROM Cache WHERE key = ? AND raw = 1", (name,))
            return delete(sql, cleanup, found.fetchall())

    def drop_tagged(self, tag: str, after: int) -> tuple[int, int | None]:
        """Delete some rows with the tag, in one transaction, of those that come after a place: how
        many, and the place where the next ones begin; None at the end."""
        select = (
            "SELECT c.rowid, c.filename, c.tag FROM Tags t JOIN Cache c ON c.rowid = t.entry"
            " WHERE t.tag = ? AND t.entry > ? ORDER BY t.entry LIMIT ?"
        )
        with self._transact() as (sql, cleanup):
            rows = sql(select, (_hash(tag), after, PAGE)).fetchall()
            found = [
                (entry, filename) for entry, filename, label in rows if tag in label_tags(label)
            ]
            return delete(sql, cleanup, found), rows[-1][0] if rows else None

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
        last = FIRST
        while rows := self._sql(select, (*values, last, ends_after, PAGE)).fetchall():
            last = rows[-1][0]
            for _, name, label in rows:
                if type(name) is str and (tag is None or tag in label_tags(label)):
                    yield name

    def touch_all(self, names: Iterable[str]) -> None:
        """Rank rows anew, in one transaction."""
        select = (
            "SELECT rowid, tag, max(size, ifnull(length(value), 0)) FROM Cache"
            " WHERE key = ? AND raw = 1 AND typeof(size) = 'integer'"
        )
        with self._transact() as (sql, _):
            for name in names:
                for entry, label, size in sql(select, (name,)).fetchall():
                    with suppress(CorruptEntry):
                        self._rank(sql, entry, load_label(label).cost_s, size)

    def sweep(self) -> None:
        """Remove ended rows and what exceeds the budget, and give free pages back."""
        for evict in (self._expire, self._evict):
            while True:  # each round is a transaction of its own: others may write in between
                with self._transact() as (sql, cleanup):
                    evicted = evict(sql, cleanup)
                if not evicted:
                    break
                self._losses.add(**evicted)
        self._sql(f"PRAGMA incremental_vacuum({PAGE})").fetchall()

    def volume(self) -> int:
        """Bytes in use: pages that are not free, and the files of large values."""
        ((pages,),) = self._sql("PRAGMA page_count").fetchall()
        ((free,),) = self._sql("PRAGMA freelist_count").fetchall()
        return int(self._page_size * (pages - free)) + self._counted("size")

    def _rank(self, sql: Any, entry: int, cost_s: float, size: int) -> None:
        sql(
            "UPDATE Cache SET access_time = (SELECT value FROM State WHERE name = 'clock') + ?"
            " WHERE rowid = ?",
            (cost_s / (size + _ROW_BYTES) + _RECENT * time.time(), entry),
        )

    def _expire(self, sql: Any, cleanup: Any) -> Counter[str]:
        """Delete some that have ended; how many."""
        select = "SELECT rowid, filename FROM Cache WHERE expire_time <= ? LIMIT ?"
        ended = sql(select, (time.time(), PAGE)).fetchall()
        return +Counter(evicted_expired=delete(sql, cleanup, ended))

    def _evict(self, sql: Any, cleanup: Any) -> Counter[str]:
        """Delete some of the lowest rank while the budget is exceeded; how many, by reason."""
        select = (
            "SELECT rowid, filename, access_time, expire_time <= ? FROM Cache"
            " ORDER BY access_time LIMIT ?"
        )
        evicted: Counter[str] = Counter()
        for _ in range(PAGE // _EVICT_AT_ONCE):
            if self.volume() <= self._max_bytes:
                break
            lowest = sql(select, (time.time(), _EVICT_AT_ONCE)).fetchall()
            if not lowest:
                break
            delete(sql, cleanup, [row[:2] for row in lowest])
            if type(lowest[-1][2]) is float and math.isfinite(lowest[-1][2]):
                sql("UPDATE State SET value = ? WHERE name = 'clock'", (lowest[-1][2],))
            evicted.update("evicted_expired" if row[3] else "evicted_budget" for row in lowest)
        return evicted


def _hash(tag: str) -> int:
    digest = hashlib.blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
