"""ResponseCache: hash proposes, equality decides.

An entry is served only when its stored key material equals the query's, byte for byte, and its
checksum holds. Only finished answers are stored: those that ended by themselves, and those that
were cut at exactly `max_tokens`.

`max_tokens` is not in the key. An answer that ended by itself after n tokens is exact for every
`max_tokens` of n or more and lives under the key; one that was cut is exact for that length only
and lives under the key and its length.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from cache_store import codec
from cache_store.database import Database
from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.explain import Explanation, explain
from cache_store.housekeeping import Stale, count_stale, forget_older
from cache_store.keys import make_key
from cache_store.memo import DigestMemo
from cache_store.similar import SimilarQuestions
from cache_store.stats import StatsRecorder
from cache_store.stores.base import Store, Stored
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from cache_store.tags import tags_of
from cache_store.types import (
    Answer,
    CacheEntry,
    CachePolicy,
    CacheQuery,
    CacheStats,
    FinishReason,
    Hit,
    Lookup,
    Miss,
    Tier,
)

log = logging.getLogger(__name__)

_CLOCK_SLACK_S = 60.0  # how far the clocks of machines that share a store may differ


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
        self._stats = StatsRecorder(database, now)
        self._similar = SimilarQuestions(store)
        self.memo = DigestMemo(database)

    def lookup(self, query: CacheQuery) -> Lookup:
        """The stored answer to exactly this query, or why there is none. Counted."""
        began = time.perf_counter()
        key, material = make_key(query)
        generation = self._store.generation()
        found = self._find(str(key), material, query.max_tokens)
        took = time.perf_counter() - began
        self._stats.looked_up(not isinstance(found, str), took)
        if isinstance(found, str):
            self._stats.add(misses=1)
            similar = self._similar.suggest(key.scope, query, self._now())
            return Miss(key, took, found, generation, similar)
        entry, tier = found
        now, answer = self._now(), entry.answer
        self._stats.add(
            **{f"hits_{tier}": 1},
            saved_s=max(0.0, answer.elapsed_s - took),
            saved_busy_s=answer.busy_s,
            saved_tokens=answer.completion_tokens,
        )
        return Hit(key, entry, tier, max(0.0, now - entry.created_at), entry.expires_at - now, took)

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

        `ttl_s` 0, an unfinished answer and a broken store keep nothing, and neither does an answer
        whose `generation` (of the Miss it was computed for) has passed.
        """
        keep_s = self._policy.ttl_s if ttl_s is None else ttl_s
        if not keep_s > 0 or not _is_finished(answer, query.max_tokens):
            self._stats.add(refused=1)
            return None
        key, material = make_key(query)
        now = self._now()
        entry = CacheEntry(material, query.model, query.max_tokens, answer, now, now + keep_s)
        stored = Stored(codec.dump(entry), entry.expires_at, tags_of(query, key), answer.elapsed_s)
        name = _slot(str(key), answer, query.max_tokens)
        if not self._store.put(name, stored, generation):
            self._stats.add(refused=1)
            return None
        self._stats.add(stored=1)
        self._similar.add(key.scope, name, query, entry)
        return keep_s

    def forget(self, tag: str) -> int:
        """Forget every answer with a tag of `cache_store.tags`; how many there were.

        Reaches what others hold in memory, write later, or compute now. Raises StoreUnavailable
        when a tier could not be reached.
        """
        return self._store.forget(tag)

    def forget_older(self, than_s: float) -> int:
        """Forget answers that were stored more than `than_s` seconds ago; how many. Reads all."""
        return forget_older(self._store, self._now() - than_s)

    def stale(self, model: str, fingerprint: str) -> Stale:
        """How many answers of a model an upgrade to `fingerprint` would leave unused. Reads them
        all and changes nothing."""
        return count_stale(self._store, model, fingerprint)

    def explain(self, query: CacheQuery) -> Explanation | None:
        """Why this query misses: the nearest entry and what is different. Reads many entries."""
        return explain(query, self._store, self._now(), _serves)

    def clear(self) -> None:
        """Forget every answer; statistics stay. Raises StoreUnavailable as `forget` does."""
        self._store.clear()
        self._similar.clear()

    def stats(self) -> CacheStats:
        """Counters over all processes and restarts, and what is kept now."""
        totals = self._stats.totals()
        count = totals.counters
        entries, stored_bytes = self._store.size(Tier.L2)
        memory_entries, memory_bytes = self._store.size(Tier.L1)
        return CacheStats(
            hits_l1=int(count["hits_l1"]),
            hits_l2=int(count["hits_l2"]),
            misses=int(count["misses"]),
            bypasses=int(count["bypasses"]),
            stored=int(count["stored"]),
            refused=int(count["refused"]),
            errors=int(count["corrupt"]) + self._store.faults,
            saved_s=float(count["saved_s"]),
            saved_busy_s=float(count["saved_busy_s"]),
            saved_tokens=int(count["saved_tokens"]),
            entries=max(entries, memory_entries),
            stored_bytes=max(stored_bytes, memory_bytes),
            memory_entries=memory_entries,
            memory_bytes=memory_bytes,
            lookup_p50_s=totals.lookup_p50_s,
            lookup_p95_s=totals.lookup_p95_s,
            series=totals.series,
        )

    def close(self) -> None:
        """Write statistics and release files."""
        self._similar.close()
        self._stats.close()
        self._store.close()
        self._database.close()

    def _find(self, name: str, material: bytes, max_tokens: int) -> tuple[CacheEntry, Tier] | str:
        """An entry that may be served, or the reason that there is none."""
        why = "absent"
        for slot in (name, f"{name}:{max_tokens}"):
            found = self._store.locate(slot)
            if found is None:
                continue
            entry = self._check(slot, found[0], material)
            if isinstance(entry, str):
                why = entry
            elif not _is_current(entry, self._now()):
                why = "expired"
            elif _serves(entry, max_tokens):
                return entry, found[1]
            else:
                why = "max_tokens"
        return why

    def _check(self, slot: str, data: bytes, material: bytes) -> CacheEntry | str:
        try:
            entry = codec.load(data)
        except CorruptEntry as error:
            log.warning("%s is not served: %s", slot, error)
            self._stats.add(corrupt=1)
            self._store.delete(slot)
            return "corrupt"
        if entry.material != material:
            self._stats.add(corrupt=1)
            return "mismatch"
        return entry


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


def _is_current(entry: CacheEntry, now: float) -> bool:
    """Whether `now` lies in its life. An entry from the future was stored by a clock that was
    wrong: what it says of its end is wrong too."""
    return entry.created_at - _CLOCK_SLACK_S <= now < entry.expires_at


def _is_finished(answer: Answer, max_tokens: int) -> bool:
    if answer.finish_reason is FinishReason.LENGTH:
        return answer.completion_tokens == max_tokens
    return answer.finish_reason is FinishReason.STOP


def _slot(name: str, answer: Answer, max_tokens: int) -> str:
    return f"{name}:{max_tokens}" if answer.finish_reason is FinishReason.LENGTH else name


def _serves(entry: CacheEntry, max_tokens: int) -> bool:
    if entry.answer.finish_reason is FinishReason.LENGTH:
        return entry.answer.completion_tokens == max_tokens
    return entry.answer.completion_tokens <= max_tokens
