"""Where answers lie, and which of them may be served: hash proposes, equality decides.

An entry is served only when its stored key material equals the query's, byte for byte, and its
checksum holds.

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
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from cache_store import codec
from cache_store.equivalents import Wordings, wordings
from cache_store.errors import CorruptEntry
from cache_store.keys import make_key
from cache_store.stats import StatsRecorder
from cache_store.stores.tiered import Standing, TieredStore
from cache_store.types import (
    Answer,
    CacheEntry,
    CacheKey,
    CacheQuery,
    FinishReason,
    Match,
    Tier,
)

log = logging.getLogger(__name__)

_DECODED = 1000  # entries that stay decoded and checked: that costs a hit as much as all the rest
_SHORT = 8192  # bytes of a stored value; longer ones are decoded each time
_CLOCK_SLACK_S = 60.0  # how far the clocks of machines that share a store may differ


class Found(NamedTuple):
    """An entry under a name, and how it fits what was asked."""

    entry: CacheEntry
    tier: Tier
    name: str
    match: Match = Match.EXACT
    question: str = ""


class Shelf:
    """Finds entries in a store. Thread-safe; raises nothing."""

    def __init__(self, store: TieredStore, stats: StatsRecorder, now: Callable[[], float]) -> None:
        self._store = store
        self._stats = stats
        self._now = now
        # remembered by the stored bytes: other bytes under a name are checked like all new ones
        self._load = lru_cache(maxsize=_DECODED)(load_finished)
        self._generation: int | None = None

    def find(self, query: CacheQuery, key: CacheKey, material: bytes) -> Found | str:
        """The entry of this wording, else of another one, else the reason that there is none."""
        same = wordings(query, key, material)
        other: Found | None = None
        why = "absent"
        standing = self._heed()
        for name in _names(key, same, query.max_tokens):
            found = self._at(standing, name)
            if isinstance(found, str):
                why = why if found == "absent" else found
                continue
            entry, exact = found.entry, found.entry.material == material
            question = same.question(entry.material) if same and not exact else None
            if not exact and question is None:
                self._stats.add(corrupt=1)
                why = "mismatch"
            elif not is_current(entry, self._now()):
                why = "expired"
            elif not serves(entry, query.max_tokens):
                why = "max_tokens"
            elif exact:
                return found
            else:
                other = other or found._replace(match=Match.EQUIVALENT, question=question or "")
        return other or why

    def exactly(self, query: CacheQuery) -> Found | None:
        """The entry that was given to this very question."""
        found = self.find(query, *make_key(query))
        return found if isinstance(found, Found) and found.match is Match.EXACT else None

    def forget(self) -> None:
        """Drop what was decoded; what is still kept is decoded again."""
        self._load.cache_clear()

    def _heed(self) -> Standing:
        """How the store stands. What was decoded in another generation is dropped."""
        standing = self._store.standing()
        if standing.generation not in (None, self._generation):
            self.forget()
            self._generation = standing.generation
        return standing

    def _at(self, standing: Standing, name: str) -> Found | str:
        """What lies under a name; a damaged entry is dropped and counted."""
        try:
            located = self._store.locate_in(standing, name)
            if located is None:
                return "absent"
            value, tier = located
            load = self._load if len(value) <= _SHORT else load_finished
            return Found(load(value), tier, name)
        except CorruptEntry as error:
            self.drop_damaged(name, error)
            return "corrupt"

    def drop_damaged(self, name: str, error: CorruptEntry) -> None:
        log.warning("%s is not served: %s", name, error)
        self._stats.add(corrupt=1, evicted_corrupt=1)
        self._store.delete(name)

    def name_for(self, query: CacheQuery, key: CacheKey, entry: CacheEntry) -> str:
        """Where to put an entry: under the shared name, unless another wording holds it."""
        same = wordings(query, key, entry.material)
        if same is not None:
            shared = _slot(same.name, entry.answer, query.max_tokens)
            held = self._at(self._store.standing(), shared)
            if isinstance(held, str) or held.entry.material == entry.material:
                return shared
            if not is_current(held.entry, self._now()):
                return shared
        return _slot(str(key), entry.answer, query.max_tokens)


def load_finished(value: bytes) -> CacheEntry:
    """The entry of stored bytes. Raises CorruptEntry, also for an answer that is not whole."""
    entry = codec.load(value)
    if not is_finished(entry.answer, entry.max_tokens):
        raise CorruptEntry(f"not a finished answer ({entry.answer.finish_reason})")
    return entry


def is_current(entry: CacheEntry, now: float) -> bool:
    """Whether `now` lies in its life. An entry from the future was stored by a clock that was
    wrong: what it says of its end is wrong too."""
    return entry.created_at - _CLOCK_SLACK_S <= now < entry.expires_at


def is_finished(answer: Answer, max_tokens: int) -> bool:
    if answer.finish_reason is FinishReason.LENGTH:
        return answer.completion_tokens == max_tokens
    return answer.finish_reason is FinishReason.STOP


def places(query: CacheQuery, entry: CacheEntry) -> set[str]:
    """The names that the answer to a query may be stored under."""
    key, material = make_key(query)
    same = wordings(query, key, material)
    names = [str(key)] if same is None else [str(key), same.name]
    return {_slot(name, entry.answer, query.max_tokens) for name in names}


def _names(key: CacheKey, same: Wordings | None, max_tokens: int) -> Iterator[str]:
    """Where an answer may be: whole or cut, under the shared name or the exact one."""
    if same is not None:
        yield same.name
        yield f"{same.name}:{max_tokens}"
    yield str(key)
    yield f"{key}:{max_tokens}"


def _slot(name: str, answer: Answer, max_tokens: int) -> str:
    return f"{name}:{max_tokens}" if answer.finish_reason is FinishReason.LENGTH else name


def serves(entry: CacheEntry, max_tokens: int) -> bool:
    if entry.answer.finish_reason is FinishReason.LENGTH:
        return entry.answer.completion_tokens == max_tokens
    return (entry.answer.completion_tokens or entry.max_tokens) <= max_tokens
