"""Proof by repetition: sampled hits are run again while the model is idle, and compared.

What runs them is handed in, so nothing here knows a model. An entry whose repetition differs is
quarantined: deleted, counted, and computed anew when it is next asked for.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from cache_store.cache import ResponseCache
from cache_store.errors import CannotRepeat
from cache_store.types import Answer, CacheQuery, Hit

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20  # of pixels that wait
_MAX_NEW = 64  # sampled, pixels not read yet
_LOOK_EVERY_S = 0.5  # while something waits for the model to be idle

R = TypeVar("R")


class Repeater(Protocol[R]):
    """Runs requests of some kind again. Called on the auditor's thread only."""

    def bytes_of(self, request: R) -> int:
        """What its pixels would take in memory; none of them is read for that."""
        ...

    def hold(self, request: R) -> R:
        """The request with its pixels. Raises errors.CannotRepeat."""
        ...

    def repeat(self, request: R) -> Answer | None:
        """The model's answer; None when somebody else needs the model now.

        Raises errors.CannotRepeat when trying later is no use.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Sample(Generic[R]):
    """A hit that was served, and the request that it answered."""

    name: str
    query: CacheQuery
    served: Answer
    request: R
    remote: bool
    bytes: int = 0


class Auditor(Generic[R]):
    """A share of the hits, in a queue bounded by the bytes of its pixels, worked off when idle.

    `sample` may be called by any thread and costs a hit nothing: pixels are read, and models
    asked, on a thread of the auditor's own, which begins with the first sample.
    """

    def __init__(
        self,
        cache: ResponseCache,
        repeater: Repeater[R],
        rate: float,
        *,
        max_bytes: int = MAX_BYTES,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._cache = cache
        self._repeater = repeater
        self._rate = rate
        self._max_bytes = max_bytes
        self._chance = chance
        self._changed = threading.Condition()
        self._new: deque[_Sample[R]] = deque()
        self._held: deque[_Sample[R]] = deque()
        self._names: set[str] = set()  # of everything in either queue
        self._closed = False
        self._thread: threading.Thread | None = None

    def sample(self, query: CacheQuery, hit: Hit, request: R, *, remote: bool = False) -> None:
        """Perhaps take this hit. `remote`: another answer is that server's drift, not our fault."""
        if self._chance() >= self._rate:
            return
        taken = _Sample(str(hit.key), query, hit.entry.answer, request, remote)
        with self._changed:
            if self._closed or taken.name in self._names:
                return
            if len(self._new) >= _MAX_NEW:
                self._cache.count(unaudited=1)
                return
            self._names.add(taken.name)
            self._new.append(taken)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
                self._thread.start()

    def clear(self) -> None:
        """Forget what waits, pixels and all."""
        with self._changed:
            self._new.clear()
            self._held.clear()
            self._names.clear()

    def close(self) -> None:
        """End the thread; a repetition that is running must have been stopped by its owner."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        self.clear()
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._new and not self._closed:
                    self._changed.wait(_LOOK_EVERY_S if self._held else None)
                if self._closed:
                    return
                new = self._new.popleft() if self._new else None
                oldest = self._held[0] if self._held and new is None else None
            if new is not None:
                self._hold(new)
            elif oldest is not None:
                self._audit(oldest)

    def _hold(self, new: _Sample[R]) -> None:
        size = self._repeater.bytes_of(new.request)
        with self._changed:
            room = self._max_bytes - sum(sample.bytes for sample in self._held)
        if size > room:
            self._give_up(new, f"no room for {size} bytes")
            return
        try:
            held = replace(new, request=self._repeater.hold(new.request), bytes=size)
        except CannotRepeat as error:
            self._give_up(new, error)
            return
        with self._changed:
            if new.name in self._names:  # else it was forgotten meanwhile
                self._held.append(held)

    def _audit(self, sample: _Sample[R]) -> None:
        if not self._cache.holds(sample.query, sample.served):
            self._leave(sample)  # forgotten or replaced since: nobody is served this any more
            return
        try:
            answer = self._repeater.repeat(sample.request)
        except CannotRepeat as error:
            self._give_up(sample, error)
            return
        if answer is None:
            with self._changed:
                self._held.rotate(-1)  # a long answer must not hold up the short ones
                self._changed.wait(_LOOK_EVERY_S)
            return
        self._leave(sample)
        self._judge(sample, same(sample.served, answer))

    def _judge(self, sample: _Sample[R], equal: bool) -> None:
        if sample.remote:
            self._cache.count(audited_remote=1, drifted=not equal)
        else:
            self._cache.count(audited=1, mismatched=not equal)
        if equal:
            return
        if sample.remote:
            log.warning("%s: the server answers otherwise by now", sample.name)
        else:
            log.error("%s: run again, the answer differs; the entry is deleted", sample.name)
            self._cache.quarantine(sample.query, sample.served)

    def _leave(self, sample: _Sample[R]) -> None:
        with self._changed:
            self._names.discard(sample.name)
            if sample in self._held:
                self._held.remove(sample)

    def _give_up(self, sample: _Sample[R], why: object) -> None:
        log.info("%s is not audited: %s", sample.name, why)
        self._leave(sample)
        self._cache.count(unaudited=1)


def same(served: Answer, repeated: Answer) -> bool:
    """Byte for byte, and ended the same way."""
    return (served.text, served.thought, served.finish_reason) == (
        repeated.text,
        repeated.thought,
        repeated.finish_reason,
    )
