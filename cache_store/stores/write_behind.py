"""Writes leave the path of the request: a store whose `put` returns at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from cache_store.errors import StoreUnavailable
from cache_store.stores.base import Store, Stored, name_tag

T = TypeVar("T")
log = logging.getLogger(__name__)

_TOUCH_EVERY_S = 5.0
_SWEEP_EVERY_S = 60.0
_MAX_TOUCHES = 10_000
_CLOSE_S = 10.0
_SETTLE_S = 0.5  # how long a count of entries waits for pending writes
_FORGET_S = 5.0  # how long forgetting does, before it drops what is still pending


class _Pending(NamedTuple):
    stored: Stored
    generation: int  # of the inner store when it was put: what was forgotten since is not written


class WriteBehind:
    """A store before another: one thread writes what was put, and what was put is found at once.

    When more is pending than `max_pending` or `max_bytes`, the oldest is dropped; nobody waits.
    That, and what the inner store refuses, is counted among what is lost. The same thread passes on
    touches in batches, and sweeps.
    """

    def __init__(self, inner: Store, max_pending: int = 1000, max_bytes: int = 32 * 2**20) -> None:
        self._inner = inner
        self._max_pending = max_pending
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._bytes = 0
        self._used: dict[str, None] = {}
        self._writing = threading.Lock()  # held while a value is on its way to the inner store
        self._closing = False
        self._failing = False
        self.dropped = 0  # never written: too many others were waiting, or the inner store refused
        self._told = 0  # of them
        self.failed = 0  # calls of the background that the inner store refused
        self._thread = threading.Thread(target=self._work, name="write-behind", daemon=True)
        self._thread.start()

    def get(self, name: str) -> Stored | None:
        stored = self.peek(name)
        if stored is not None:
            self.touch((name,))
        return stored

    def peek(self, name: str) -> Stored | None:
        pending = self._pending.get(name)
        if pending is None:
            return self._inner.peek(name)
        outdated = pending.generation != self._inner.generation()
        ended = pending.stored.expires_at <= time.time()
        return None if outdated or ended else pending.stored

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        now = self._inner.generation()
        if generation not in (None, now):
            return False
        with self._changed:
            self._remove(name)
            self._pending[name] = _Pending(stored, now)
            self._bytes += len(stored.value)
            while len(self._pending) > self._max_pending or self._bytes > self._max_bytes:
                self._remove(next(iter(self._pending)))
                self.dropped += 1
            self._changed.notify_all()
        return True

    def delete(self, name: str) -> None:
        with self._writing:
            with self._changed:
                self._remove(name)
            self._inner.delete(name)

    def forget(self, tag: str) -> int:
        """Where the writer is behind or the inner store fails, what waits here is forgotten too.

        What is on its way then cannot land after it: it names the generation that ends here.
        """
        self.flush(_FORGET_S)  # what is not forgotten should not be lost with the rest
        with self._changed:
            waiting = [n for n, p in self._pending.items() if tag in (name_tag(n), *p.stored.tags)]
            for name in waiting:
                self._remove(name)
        count = self._inner.forget(tag)
        self._drop_outdated()
        return count + len(waiting)

    def clear(self) -> int:
        self.flush(_SETTLE_S)  # else what replaces a value counts as another one
        with self._writing:  # nothing is on its way, so nothing lands in what was emptied
            with self._changed:
                waiting = len(self._pending)
                self._pending.clear()
                self._bytes = 0
                self._changed.notify_all()
            return waiting + self._inner.clear()

    def generation(self) -> int:
        return self._inner.generation()

    def replaced(self) -> object:
        return self._inner.replaced()

    def names(self, tag: str | None = None) -> Iterator[str]:
        generation = self._inner.generation()
        with self._changed:
            now, waiting = time.time(), list(self._pending.items())
        pending = {
            name
            for name, (stored, put_in) in waiting
            if put_in == generation
            and stored.expires_at > now
            and tag in (None, name_tag(name), *stored.tags)
        }
        yield from pending
        replaced = {name for name, _ in waiting}  # what the inner store has of them is outdated
        yield from (name for name in self._inner.names(tag) if name not in replaced)

    def touch(self, names: Iterable[str]) -> None:
        used = self._used
        for name in names:
            if len(used) < _MAX_TOUCHES:
                used[name] = None

    def sweep(self) -> None:
        self._inner.sweep()

    def size(self) -> tuple[int, int]:
        self.flush(_SETTLE_S)
        return self._inner.size()

    def lost(self) -> Mapping[str, int]:
        with self._changed:
            dropped, self._told = self.dropped - self._told, self.dropped
        return Counter(self._inner.lost()) + Counter(dropped_writes=dropped)

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is pending; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def close(self) -> None:
        """Write what is pending, for some seconds at most, and close the inner store."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if not self.flush(_CLOSE_S):
            with self._changed:
                log.warning("%d answers were not written before the end", len(self._pending))
                self.dropped += len(self._pending)
                self._pending.clear()
                self._bytes = 0
        self._thread.join()
        self._inner.close()

    def _work(self) -> None:
        touch_at = time.monotonic() + _TOUCH_EVERY_S
        sweep_at = time.monotonic() + _SWEEP_EVERY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing, 1.0)
                if self._closing and not self._pending:
                    break
            self._write_oldest()
            now = time.monotonic()
            if now >= touch_at:
                self._pass_on_touches()
                touch_at = now + _TOUCH_EVERY_S
            if now >= sweep_at:
                self._try(self._inner.sweep, None)
                sweep_at = now + _SWEEP_EVERY_S
        self._pass_on_touches()

    def _write_oldest(self) -> None:
        with self._writing:
            with self._changed:
                if not self._pending:
                    return
                name, pending = next(iter(self._pending.items()))
            took = self._try(
                lambda: self._inner.put(name, pending.stored, pending.generation), False
            )
            with self._changed:
                if self._pending.get(name) is pending:
                    self._remove(name)
                    self.dropped += not took
                self._changed.notify_all()

    def _pass_on_touches(self) -> None:
        used, self._used = self._used, {}
        names = list(used)  # a reader may still be adding to it
        if names:
            self._try(lambda: self._inner.touch(names), None)

    def _try(self, call: Callable[[], T], otherwise: T) -> T:
        """The edge of the thread: whatever a store raises, the next answers are written."""
        try:
            result = call()
        except Exception as error:
            self.failed += 1
            if not self._failing:
                told = None if isinstance(error, StoreUnavailable) else error  # a mistake: show it
                log.warning("an answer was not written: %s", error, exc_info=told)
            self._failing = True
            return otherwise
        self._failing = False
        return result

    def _remove(self, name: str) -> None:
        pending = self._pending.pop(name, None)
        if pending is not None:
            self._bytes -= len(pending.stored.value)

    def _drop_outdated(self) -> None:
        """Drop what was put before the last forget: the inner store would refuse it."""
        generation = self._inner.generation()
        with self._changed:
            outdated = [n for n, p in self._pending.items() if p.generation != generation]
            for name in outdated:
                self._remove(name)
            self.dropped += len(outdated)
