"""ResponseCache: hash proposes, equality decides.

An entry is served only when its stored key material equals the query's, byte for byte, and its
checksum holds. Only finished answers are stored: those that ended by themselves, and those that
were cut at exactly `max_tokens`.

`max_tokens` is not in the key. An answer that ended by itself after n tokens is exact for every
`max_tokens` of n or more and lives under the key; one that was cut is exact for that length only
and lives under the key and its length.

An equivalent question (see `equivalents`) in the same scope may be served the same entry. The
wordings of a question share a name, which the first one that is stored takes; while its answer is
kept, other wordings that the model was asked in their own right live under their exact names. A
lookup prefers the exact wording, wherever it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cache_store import codec, ttl
from cache_store.database import Database
from cache_store.equivalents import Wordings, wordings
from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.explain import Explanation, explain
from cache_store.housekeeping import Stale, count_stale, forget_older
from cache_store.keys import make_key
from cache_store.material import query_of
from cache_store.memo import DigestMemo
from cache_store.similar import SimilarQuestions
from cache_store.stats import StatsRecorder
from cache_store.stores.base import Store, Stored, name_tag
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from cache_store.tags import tags_of
from cache_store.types import (
    Adopted,
    Answer,
    CacheEntry,
    CacheKey,
    CachePolicy,
    CacheQuery,
    CacheStats,
    FinishReason,
    Hit,
    Lookup,
    Match,
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

    def lookup(self, query: CacheQuery, match: Match = Match.EQUIVALENT) -> Lookup:
        """A stored answer that may be served, or why there is none. Counted.

        `Match.EXACT` leaves out what was given to an equivalent question.
        """
        began = time.perf_counter()
        key, material = make_key(query)
        generation = self._store.generation()
        found = self._find(query, key, material)
        if isinstance(found, _Found) and found.match not in (Match.EXACT, match):
            found = "absent"
        took = time.perf_counter() - began
        self._stats.took("lookup", took)
        if isinstance(found, str):
            self._stats.add(misses=1)
            similar = self._similar.suggest(key.scope, query, self._now())
            return Miss(key, took, found, generation, similar)
        self._count_hit(found, took)
        now, entry = self._now(), found.entry
        return Hit(
            key=key,
            entry=entry,
            tier=found.tier,
            age_s=max(0.0, now - entry.created_at),
            ttl_s=entry.expires_at - now,
            lookup_s=took,
            name=found.name,
            match=found.match,
            question=found.question,
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

        `ttl_s` 0, an unfinished answer and a broken store keep nothing, and neither does an answer
        whose `generation` (of the Miss it was computed for) has passed.
        """
        keep_s = ttl.keep_s(query, self._policy, ttl_s)
        if not keep_s > 0 or not _is_finished(answer, query.max_tokens):
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
        """An entry as it is stored, unchecked. For packs and housekeeping."""
        return self._store.read(name)

    def adopt(self, entry: CacheEntry) -> Adopted:
        """Keep an entry of another cache, with its own age and end. Not counted.

        Raises CorruptEntry for one that may not be stored, StoreUnavailable when no store took it.
        """
        query = query_of(entry)
        if not _is_finished(entry.answer, entry.max_tokens):
            raise CorruptEntry("not a finished answer")
        if not _is_current(entry, self._now()):
            return Adopted.EXPIRED
        key, material = make_key(query)
        held = self._find(query, key, material)
        exact = isinstance(held, _Found) and held.match is Match.EXACT
        if exact and held.entry.created_at >= entry.created_at:
            return Adopted.PRESENT
        if not self._keep(query, key, entry, None):
            raise StoreUnavailable("no store took it")
        return Adopted.KEPT

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

    def holds(self, query: CacheQuery, answer: Answer) -> bool:
        """Whether this very answer would be served to this very query now. Not counted."""
        return self._holding(query, answer) is not None

    def quarantine(self, query: CacheQuery, answer: Answer) -> None:
        """Delete an answer that proved wrong; one that has replaced it meanwhile stays."""
        found = self._holding(query, answer)
        if found is not None:
            try:
                self._store.forget(name_tag(found.name))  # in every process
            except StoreUnavailable as error:
                log.error("%s may still be served by others: %s", found.name, error)
            self.count(evicted_quarantined=1)

    def count(self, **amounts: float) -> None:
        """Add to the statistics (`stats.py` lists the counters)."""
        self._stats.add(**amounts)

    def clear(self) -> None:
        """Forget every answer; statistics stay. Raises StoreUnavailable as `forget` does."""
        self._store.clear()
        self._similar.clear()

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
        self._stats.close()
        self._store.close()
        self._database.close()

    def _keep(
        self, query: CacheQuery, key: CacheKey, entry: CacheEntry, generation: int | None
    ) -> bool:
        seconds = entry.answer.elapsed_s
        stored = Stored(codec.dump(entry), entry.expires_at, tags_of(query, key), seconds)
        name = self._name_for(query, key, entry)
        began = time.perf_counter()
        kept = self._store.put(name, stored, generation)
        self._stats.took("write", time.perf_counter() - began)
        if kept:
            self._similar.add(key.scope, name, query, entry)
        return kept

    def _find(self, query: CacheQuery, key: CacheKey, material: bytes) -> _Found | str:
        """The entry of this wording, else of another one, else the reason that there is none."""
        same = wordings(query, key, material)
        other: _Found | None = None
        why = "absent"
        for name in _names(key, same, query.max_tokens):
            found = self._load(name)
            if isinstance(found, str):
                why = why if found == "absent" else found
                continue
            entry, exact = found.entry, found.entry.material == material
            question = same.question(entry.material) if same and not exact else None
            if not exact and question is None:
                self._stats.add(corrupt=1)
                why = "mismatch"
            elif not _is_current(entry, self._now()):
                why = "expired"
            elif not _serves(entry, query.max_tokens):
                why = "max_tokens"
            elif exact:
                return found
            else:
                other = other or replace(found, match=Match.EQUIVALENT, question=question or "")
        return other or why

    def _holding(self, query: CacheQuery, answer: Answer) -> _Found | None:
        found = self._find(query, *make_key(query))
        exact = isinstance(found, _Found) and found.match is Match.EXACT
        return found if exact and found.entry.answer == answer else None

    def _load(self, name: str) -> _Found | str:
        located = self._store.locate(name)
        if located is None:
            return "absent"
        try:
            return _Found(codec.load(located[0]), located[1], name)
        except CorruptEntry as error:
            log.warning("%s is not served: %s", name, error)
            self._stats.add(corrupt=1, evicted_corrupt=1)
            self._store.delete(name)
            return "corrupt"

    def _name_for(self, query: CacheQuery, key: CacheKey, entry: CacheEntry) -> str:
        """The shared name, unless another wording holds it."""
        same = wordings(query, key, entry.material)
        if same is not None:
            shared = _slot(same.name, entry.answer, query.max_tokens)
            held = self._load(shared)
            if isinstance(held, str) or held.entry.material == entry.material:
                return shared
            if not _is_current(held.entry, self._now()):
                return shared
        return _slot(str(key), entry.answer, query.max_tokens)

    def _count_hit(self, found: _Found, took: float) -> None:
        answer = found.entry.answer
        self._stats.add(
            **{f"hits_{found.tier}": 1},
            **({f"equivalent_{found.tier}": 1} if found.match is Match.EQUIVALENT else {}),
            saved_s=max(0.0, answer.elapsed_s - took),
            saved_busy_s=answer.busy_s,
            saved_tokens=answer.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry under a name, and how it fits what was asked."""

    entry: CacheEntry
    tier: Tier
    name: str
    match: Match = Match.EXACT
    question: str = ""


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


def _names(key: CacheKey, same: Wordings | None, max_tokens: int) -> Iterator[str]:
    """Where an answer may be: whole or cut, under the shared name or the exact one."""
    for name in (*([same.name] if same else []), str(key)):
        yield name
        yield f"{name}:{max_tokens}"


def _slot(name: str, answer: Answer, max_tokens: int) -> str:
    return f"{name}:{max_tokens}" if answer.finish_reason is FinishReason.LENGTH else name


def _serves(entry: CacheEntry, max_tokens: int) -> bool:
    if entry.answer.finish_reason is FinishReason.LENGTH:
        return entry.answer.completion_tokens == max_tokens
    return entry.answer.completion_tokens <= max_tokens
