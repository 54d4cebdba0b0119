"""Similar questions of one scope, to suggest beside a miss. Nothing here serves an answer.

SimHash and, where it is installed, an encoder propose, the guards drop what means something else,
and a look into the store drops what is no longer kept. A lookup searches memory only; entries are
indexed by a thread of their own.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from cache_store import codec
from cache_store.encoder import Encoder, Vector, load
from cache_store.errors import CorruptEntry
from cache_store.guards import is_another_question, read
from cache_store.keys import make_key
from cache_store.material import query_of
from cache_store.signatures import Known, Scope, signature
from cache_store.stores.tiered import TieredStore
from cache_store.tags import scope_tag
from cache_store.types import CacheEntry, CacheQuery, Suggestion, TextPart

_OFFERED = 3
_LONGEST = 400  # characters; longer questions are neither indexed nor compared
_QUESTIONS = 50_000  # over all scopes; about 500 bytes each, 800 with an encoder
_SCOPES = 5_000
_LOADED = 1_000  # entries of a scope that are read from the store
_FRESH_S = 60.0  # then the store is read again: other processes write there too
_QUEUED = 1_000  # entries that wait to be indexed; more are left out


class Near(NamedTuple):
    """What a miss can be told.

    `similar`: at most three questions of the scope that ask nearly the same, the nearest first.
    `expired`: this very question had an answer whose time is up, as far as is remembered here; to
    a store it looks as if there had never been one.
    """

    similar: tuple[Suggestion, ...] = ()
    expired: bool = False


class SimilarQuestions:
    """Which questions of a scope are kept. Thread-safe; in memory, filled as entries are stored
    and, for scopes of before, from the store.
    """

    def __init__(
        self, store: TieredStore, load_encoder: Callable[[], Encoder | None] = load
    ) -> None:
        self._store = store
        self._load_encoder: Callable[[], Encoder | None] | None = load_encoder
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()
        self._scopes: OrderedDict[str, Scope] = OrderedDict()
        self._count = 0
        self._room = threading.BoundedSemaphore(_QUEUED)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="similar")

    def near(self, scope: str, query: CacheQuery, now: float) -> Near:
        """What is known of the scope that is asked nearly, or exactly, as this query."""
        question = question_of(query)
        if question is None or not self._fill(scope):
            return Near()
        signed, vector = signature(question), self._encoded(question)
        with self._lock:
            nearest = self._touch(scope).nearest(signed, vector)
        expired = any(known.question == question and known.expires_at <= now for known in nearest)
        return Near(self._offered(nearest, question, now), expired)

    def add(self, scope: str, name: str, query: CacheQuery, entry: CacheEntry) -> None:
        """Index an entry that was just stored; returns at once."""
        question = question_of(query)
        if question is not None:
            known = Known(name, question, entry.created_at, entry.expires_at)
            self._later(self._index, scope, known)

    def clear(self) -> None:
        """Forget every question; what the store still has is read again when asked for."""
        with self._lock:
            self._scopes.clear()
            self._count = 0

    def settle(self) -> None:
        """Wait until everything that was stored so far is indexed."""
        self._worker.submit(lambda: None).result()

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)

    def _offered(self, nearest: list[Known], question: str, now: float) -> tuple[Suggestion, ...]:
        offered: dict[str, Suggestion] = {}
        for known in nearest:
            if len(offered) == _OFFERED:
                break
            if known.question not in offered and self._holds(known, question, now):
                age_s = max(0.0, now - known.created_at)
                offered[known.question] = Suggestion(known.question, age_s, known.name)
        return tuple(offered.values())

    def _holds(self, known: Known, question: str, now: float) -> bool:
        """Whether a candidate asks nearly the same and its answer is still there."""
        return (
            known.expires_at > now
            and known.question != question
            and not is_another_question(read(question), read(known.question))
            and self._is_kept(known.name)
        )

    def _is_kept(self, name: str) -> bool:
        with suppress(CorruptEntry):
            return self._store.read(name) is not None
        return False

    def _fill(self, scope: str) -> bool:
        """Have the scope read from the store where that was not done lately: the first miss of a
        scope of before finds nothing, the next one does. Whether there is any question in it.
        """
        now = time.monotonic()
        with self._lock:
            kept = self._touch(scope)
            stale = now - kept.read_at > _FRESH_S
            if stale:
                kept.read_at = now
        if stale:
            self._later(self._load, scope)
        return len(kept) > 0

    def _load(self, scope: str) -> None:
        for name in self._store.names(scope_tag(scope), _LOADED):
            with self._lock:
                if name in self._touch(scope):
                    continue
            known = self._read(scope, name)
            if known is not None:
                self._index(scope, known)

    def _read(self, scope: str, name: str) -> Known | None:
        try:
            stored = self._store.read(name)
            if stored is None:
                return None
            entry = codec.load(stored.value)
            query = query_of(entry)
        except CorruptEntry:
            return None
        question = question_of(query)
        if question is None or make_key(query)[0].scope != scope:
            return None  # a tag is only a hint: what the entry says decides who may see it
        return Known(name, question, entry.created_at, entry.expires_at)

    def _index(self, scope: str, known: Known) -> None:
        self._have_encoder()
        signed, vector = signature(known.question), self._encoded(known.question)
        read(known.question)  # remembered there: lookups find it read
        with self._lock:
            kept = self._touch(scope)
            before = len(kept)
            kept.add(known, signed, vector)
            self._count += len(kept) - before
            while self._count > _QUESTIONS:
                self._drop_oldest()

    def _have_encoder(self) -> None:
        """Load it with the first question; on the worker, so that no lookup waits for it."""
        load, self._load_encoder = self._load_encoder, None
        if load is not None:
            self._encoder = load()

    def _encoded(self, question: str) -> Vector | None:
        return None if self._encoder is None else self._encoder(question)

    def _touch(self, scope: str) -> Scope:
        """The scope, as the one used last. The lock is held."""
        kept = self._scopes.setdefault(scope, Scope())
        self._scopes.move_to_end(scope)
        if len(self._scopes) > _SCOPES:
            self._drop_oldest()
        return kept

    def _drop_oldest(self) -> None:
        _, dropped = self._scopes.popitem(last=False)
        self._count -= len(dropped)

    def _later(self, job: Callable[..., None], *args: object) -> Future[None] | None:
        """Run it on the worker; None where too much waits there or the cache is closed."""
        if not self._room.acquire(blocking=False):
            return None
        try:
            future = self._worker.submit(job, *args)
        except RuntimeError:  # shut down
            self._room.release()
            return None
        future.add_done_callback(lambda _: self._room.release())
        return future


def question_of(query: CacheQuery) -> str | None:
    """The question to compare: the one text of the last turn, unless it is very long."""
    texts = [part.text for part in query.turns[-1].parts if isinstance(part, TextPart)]
    return texts[0] if len(texts) == 1 and len(texts[0]) <= _LONGEST else None
