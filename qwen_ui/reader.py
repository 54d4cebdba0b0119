"""One reader of an answer under way: its flight as the events of a request with its own times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from cache_store.cache import ResponseCache
from cache_store.single_flight import Flight
from cache_store.types import Hit, Miss
from qwen_ui.errors import QwenUIError, WaitedTooLong
from qwen_ui.events import CacheStatus, ChatEvent, Finish, ModelStatus, Usage
from qwen_ui.runs import Flights, Landed, Logged, Pending, replayed
from qwen_ui.types import FinishReason, ModelState

_PROGRESS_EVERY_S = 0.25


class Reader:
    """Reads one flight on the event loop, as the events of one request with its own times.

    Each reader waits `queue_timeout_s` in a model's queue, from his own coming: who came later
    reads on when an earlier one has given up; the last one to do so takes the question out of it.
    """

    def __init__(
        self, pending: Pending, flights: Flights, cache: ResponseCache, queue_timeout_s: float
    ) -> None:
        """Joins. Raises errors.ShuttingDown."""
        self._pending = pending
        self._cache = cache
        self._queueing = _Queueing(queue_timeout_s)
        self._bell = _Bell()
        self._began = time.perf_counter()
        self._seat = pending.join(flights, self._bell.ring)
        self._status = replace(pending.status, collapsed=not self._seat.leads)
        self._greeted = False

    @property
    def leads(self) -> bool:
        """The flight began with this reader: somebody must compute."""
        return self._seat.leads

    @property
    def flight(self) -> Flight[Logged]:
        return self._seat.flight

    async def events(self, progress: Callable[[], ModelStatus]) -> AsyncIterator[ChatEvent]:
        """Everything up to Finish; `progress` tells how a model that loads is coming along.

        Raises the QwenUIError that the flight ended with, errors.WaitedTooLong.
        """
        loading = False
        while True:
            for logged in self._seat.take():
                for event in self._told(logged):
                    yield event
                if isinstance(logged, Hit | Landed):
                    return
                self._queueing.hear(logged)
                loading = isinstance(logged, ModelStatus) and logged.state is not ModelState.READY
            if self._pending.stopped and not self.flight.stopped:  # others read on
                for greeting in self._greeting():
                    yield greeting
                yield Finish(FinishReason.CANCELLED)
                return
            self._queueing.check()
            rung = await self._bell.wait(_PROGRESS_EVERY_S if loading else self._queueing.left_s)
            if loading and not rung:
                yield progress()

    def close(self) -> None:
        """Read no more."""
        self._pending.stop()
        self._seat.close()

    def _told(self, logged: Logged) -> Iterator[ChatEvent]:
        match logged:
            case QwenUIError():
                raise logged.with_traceback(None)  # one error for many: not a trace of each
            case Hit():
                events = replayed(logged, self._pending.remote)
                self._count(events[-2])
                yield from events
            case Miss():
                yield from self._greeting()
            case Landed():
                yield from self._greeting()
                yield from self._landed(logged)
            case _:
                yield from self._greeting()
                yield logged

    def _greeting(self) -> Iterator[CacheStatus]:
        """The first event, once."""
        if not self._greeted:
            self._greeted = True
            yield self._status

    def _landed(self, landed: Landed) -> Iterator[ChatEvent]:
        if landed.kept_s is not None:
            said = replace(self._status, detail="", lookup_s=0.0, similar=())
            yield replace(said, stored=True, ttl_s=landed.kept_s)
        usage = self._usage(landed)
        if self._status.collapsed and landed.end.reason is not FinishReason.CANCELLED:
            self._count(usage)
        yield usage
        yield Finish(landed.end.reason)

    def _usage(self, landed: Landed) -> Usage:
        end, leads = landed.end, self._seat.leads
        elapsed_s = max(0.0, landed.ended_at - self._began)
        return Usage(
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            first_token_s=max(0.0, landed.first_at - self._began),
            elapsed_s=elapsed_s,
            busy_s=end.busy_s if leads else 0.0,
            saved_s=0.0 if leads else max(0.0, end.elapsed_s - elapsed_s),
            saved_busy_s=0.0 if leads else end.busy_s,
            cached_tokens=end.cached_tokens,
            known_pictures=end.known_pictures,
        )

    def _count(self, usage: ChatEvent) -> None:
        if isinstance(usage, Usage):
            self._cache.collapsed(usage.saved_s, usage.saved_busy_s, usage.completion_tokens)


class _Queueing:
    """How long the answer may still wait for its turn. Loading a model is no part of that."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._until: float | None = None  # where it waits

    @property
    def left_s(self) -> float | None:
        """None: it does not wait."""
        return None if self._until is None else self._until - time.monotonic()

    def hear(self, logged: Logged) -> None:
        if not (isinstance(logged, ModelStatus) and logged.waiting):
            self._until = None
        elif self._until is None:
            self._until = time.monotonic() + self._timeout_s

    def check(self) -> None:
        """Raises errors.WaitedTooLong."""
        if self.left_s is not None and self.left_s <= 0:
            raise WaitedTooLong(round(self._timeout_s))


class _Bell:
    """Wakes a reader on its event loop; any thread may ring, and ring after ring costs nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._ringing = False

    def ring(self) -> None:
        if self._ringing:  # then the reader has not looked yet, and will see what is new as well
            return
        self._ringing = True
        with suppress(RuntimeError):  # the loop has ended, and the reader with it
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, timeout_s: float | None) -> bool:
        """Until it rings; False when the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self._rung.clear()
            self._ringing = False  # before the reader looks
