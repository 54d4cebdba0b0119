"""ResponseCache: what was answered is looked up, stored, forgotten, counted.

Only finished answers are stored: those that ended by themselves, and those that were cut at exactly
`max_tokens`. What may be served to whom is decided in `shelf`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from cache_store import codec, ttl
from cache_store.database import Database
from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.explain import Explanation, explain
from cache_store.housekeeping import Stale, count_stale, forget_older
from cache_store.keys import make_key
from cache_store.looks import Looks
from cache_store.material import query_of
from cache_store.memo import DigestMemo
from cache_store.shelf import Found, Shelf, is_current, is_finished, load_finished, serves
from cache_store.similar import SimilarQuestions
from cache_store.stats import StatsRecorder
from cache_store.stores.base import Store, Stored, name_tag
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from cache_store.tags import picture_of, tags_of
from cache_store.types import (
    Adopted,
    Answer,
    CacheEntry,
    CacheKey,
    CachePolicy,
    CacheQuery,
    CacheStats,
    Hit,
    Lookup,
    Match,
    Miss,
    Tier,
)
from cache_store.video_memo import VideoMemo

log = logging.getLogger(__name__)


class ResponseCache:
    """Answers by query, in two tiers. Thread-safe; a broken store never makes it raise."""

    def __init__(
        self,
        store: TieredStore,
        database: Database,
        policy: CachePolicy = CachePolicy(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._database = database
        self._policy = policy
        self._now = now
        self._stats = StatsRecorder(database, now, store.lost)
        self._shelf = Shelf(store, self._stats, now)
        self._similar = SimilarQuestions(store)
        self._looks = Looks()
        self.memo = DigestMemo(database)
        self.videos = VideoMemo(database)

    def lookup(self, query: CacheQuery, match: Match = Match.EQUIVALENT) -> Lookup:
        """A stored answer that may be served, or why there is none. Counted.

        `Match.EXACT` leaves out what was given to an equivalent question.
        """
        began, look = time.perf_counter(), self._looks.look()
        key, material = make_key(query)
        found = self._shelf.find(query, key, material)
        if isinstance(found, Found) and found.match not in (Match.EXACT, match):
            found = "absent"
        took = time.perf_counter() - began
        self._stats.took("lookup", took)
        if isinstance(found, str):
            self._stats.add(misses=1)
            near = self._similar.near(key.scope, query, self._now())
            why = "expired" if found == "absent" and near.expired else found
            return Miss(key, took, why, self._store.generation(), near.similar, look)
        self._count_hit(found, took)
        return self._hit(key, found, took)

    def look_again(self, query: CacheQuery, miss: Miss) -> Hit | None:
        """The second look, right before computing: the exact answer, if it came after `miss`.

        Not counted: `lookup` has counted the miss.
        """
        if not self._looks.worth_repeating(miss.look):
            return None
        began = time.perf_counter()
        found = self._shelf.exactly(query)
        if found is None:
            return None
        return self._hit(make_key(query)[0], found, time.perf_counter() - began)

    def collapsed(self, saved_s: float, saved_busy_s: float, saved_tokens: int) -> None:
        """Count a request that missed and then read what was computed for another."""
        self._stats.add(
            collapsed=1, saved_s=saved_s, saved_busy_s=saved_busy_s, saved_tokens=saved_tokens
        )

    def bypass(self, query: CacheQuery) -> Miss:
        """The key of a query that must not be answered from the cache (no-cache). Counted."""
        self._stats.add(bypasses=1)
        return Miss(make_key(query)[0], 0.0, "bypass", self._store.generation())

    def store(
        self,
        query: CacheQuery,
        answer: Answer,
        ttl_s: float | None = None,
        generation: int | None = None,
    ) -> float | None:
        """Keep a finished answer; the seconds it is kept for, or None when it is not kept.

        `ttl_s` 0 or NaN, an unfinished answer and a broken store keep nothing; nor does an answer
        whose `generation` (of the Miss it was computed for) has passed.
        """
        keep_s = ttl.keep_s(query, self._policy, ttl_s)
        if not keep_s > 0 or not is_finished(answer, query.max_tokens):
            self._stats.add(refused=1)
            return None
        key, material = make_key(query)
        now = self._now()
        entry = CacheEntry(material, query.model, query.max_tokens, answer, now, now + keep_s)
        if not self._keep(query, key, entry, generation):
            self._stats.add(refused=1)
            return None
        self._stats.add(stored=1)
        return keep_s

    def names(self, tag: str | None = None) -> Iterator[str]:
        """Names of the entries: all, or those with a tag of `cache_store.tags`; in no order."""
        return self._store.names(tag)

    def read(self, name: str) -> Stored | None:
        """An entry as it is stored, its value unchecked. A damaged one is dropped and counted."""
        try:
            return self._store.read(name)
        except CorruptEntry as error:
            self._shelf.drop_damaged(name, error)
            return None

    def inspect(self, name: str) -> tuple[Stored, CacheEntry] | None:
        """An entry as it is stored, and what it says. Changes nothing. Raises CorruptEntry."""
        stored = self._store.read(name)
        return None if stored is None else (stored, load_finished(stored.value))

    def adopt(self, entry: CacheEntry) -> Adopted:
        """Keep an entry of another cache, with its own age and end. Not counted.

        Raises CorruptEntry for one that may not be stored, StoreUnavailable when no store took it.
        """
        query = query_of(entry)
        if not is_finished(entry.answer, entry.max_tokens):
            raise CorruptEntry(f"not a finished answer ({entry.answer.finish_reason})")
        if not is_current(entry, self._now()):
            return Adopted.EXPIRED
        held = self._shelf.exactly(query)
        if held is not None and held.entry.created_at >= entry.created_at:
            return Adopted.PRESENT
        key, _ = make_key(query)
        if not self._keep(query, key, entry, None):
            raise StoreUnavailable("no store took it")
        return Adopted.KEPT

    def forget(self, tag: str) -> int:
        """Forget every answer with a tag of `cache_store.tags`; how many there were.

        Reaches what others hold in memory, write later, or compute now. Raises StoreUnavailable
        when a tier could not be reached: this process serves nothing of it from then on, and tells
        that tier when it is back; others do not know before that, or ever, where this one ends.
        """
        picture = picture_of(tag)
        if picture is not None:
            self.memo.forget_picture(picture)
        self._similar.clear()  # what is still kept is read again
        self._shelf.forget()
        count = self._store.forget(tag)
        self.count(evicted_forgotten=count)
        return count

    def forget_older(self, than_s: float) -> int:
        """Forget answers that were stored more than `than_s` seconds ago; how many. Reads all.

        Raises StoreUnavailable when a tier could not be read: what it holds is not forgotten.
        """
        count = forget_older(self._store, self._now() - than_s)
        self.count(evicted_forgotten=count)
        return count

    def stale(self, model: str, fingerprint: str) -> Stale:
        """How many answers of a model an upgrade to `fingerprint` would leave unused. Reads them
        all and changes nothing."""
        return count_stale(self._store, model, fingerprint)

    def explain(self, query: CacheQuery, before: float | None = None) -> Explanation | None:
        """Why this query misses, or missed `before` (seconds since the epoch): the nearest entry
        and what is different. Reads many entries."""
        return explain(query, self._store, self._now(), serves, before)

    def holds(self, query: CacheQuery, answer: Answer) -> bool:
        """Whether this very answer would be served to this very query now. Not counted."""
        found = self._shelf.exactly(query)
        return found is not None and found.entry.answer == answer

    def quarantine(self, query: CacheQuery, answer: Answer) -> None:
        """Delete an answer that proved wrong; one that has replaced it meanwhile stays."""
        found = self._shelf.exactly(query)
        if found is not None and found.entry.answer == answer:
            try:
                self._store.forget(name_tag(found.name))  # in every process
            except StoreUnavailable as error:
                log.error("%s may still be served by others: %s", found.name, error)
            self.count(evicted_quarantined=1)

    def count(self, **amounts: float) -> None:
        """Add to the statistics (`stats.py` lists the counters)."""
        self._stats.add(**amounts)

    def clear(self) -> int:
        """Forget every answer, and which files had which pixels; how many answers there were.
        Statistics stay. Raises StoreUnavailable as `forget` does."""
        self.memo.clear()
        self.videos.clear()
        self._similar.clear()
        self._shelf.forget()
        count = self._store.clear()
        self.count(evicted_forgotten=count)
        return count

    def stats(self) -> CacheStats:
        """Counters over all processes and restarts, and what is kept now."""
        counted = self._stats.report()
        entries, stored_bytes = self._store.size(Tier.L2)
        memory_entries, memory_bytes = self._store.size(Tier.L1)
        return replace(
            counted,
            errors=counted.errors + self._store.faults,
            entries=max(entries, memory_entries),
            stored_bytes=max(stored_bytes, memory_bytes),
            memory_entries=memory_entries,
            memory_bytes=memory_bytes,
        )

    def close(self) -> None:
        """Write statistics and release files."""
        self._similar.close()
        self._store.close()
        self._stats.close()  # after the store: what it could not write any more is counted
        self._database.close()

    def _keep(
        self, query: CacheQuery, key: CacheKey, entry: CacheEntry, generation: int | None
    ) -> bool:
        seconds = entry.answer.elapsed_s
        stored = Stored(codec.dump(entry), entry.expires_at, tags_of(query, key), seconds)
        name = self._shelf.name_for(query, key, entry)
        began = time.perf_counter()
        kept = self._store.put(name, stored, generation)
        self._stats.took("write", time.perf_counter() - began)
        if kept:
            self._looks.stored()
            self._similar.add(key.scope, name, query, entry)
        return kept

    def _hit(self, key: CacheKey, found: Found, took_s: float) -> Hit:
        now, entry = self._now(), found.entry
        return Hit(
            key=key,
            entry=entry,
            tier=found.tier,
            age_s=max(0.0, now - entry.created_at),
            ttl_s=entry.expires_at - now,
            lookup_s=took_s,
            name=found.name,
            match=found.match,
            question=found.question,
        )

    def _count_hit(self, found: Found, took: float) -> None:
        answer = found.entry.answer
        self._stats.add(
            **{f"hits_{found.tier}": 1},
            **({f"equivalent_{found.tier}": 1} if found.match is Match.EQUIVALENT else {}),
            saved_s=max(0.0, answer.elapsed_s - took),
            saved_busy_s=answer.busy_s,
            saved_tokens=answer.completion_tokens,
        )


def open_cache(
    directory: Path | None, policy: CachePolicy = CachePolicy(), store: str = "disk:"
) -> ResponseCache:
    """A cache in a directory (memory and `store`), or in memory only.

    `store` is a URL of `open_store`; `disk:` lies in the directory. A store that cannot be used is
    reported and left out: answers are then kept in memory. Raises UnknownStore.
    """
    l2: Store | None = None
    if directory is not None and store != "memory:":
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else's business
            url = f"disk:{directory / 'answers'}" if store == "disk:" else store
            l2 = WriteBehind(open_store(url, policy.disk_max_bytes))
        except (StoreUnavailable, OSError) as error:
            log.warning("answers are kept in memory only: %s", error)
    database = Database(directory / "meta.sqlite3" if directory else None)
    return ResponseCache(TieredStore(MemoryStore(policy.memory_max_bytes), l2), database, policy)
