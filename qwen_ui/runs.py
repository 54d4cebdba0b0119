"""One answer under way, as one reader sees it: waiting, collapsed, or replayed from the cache.

Live and replay give the same events, so that page and routes have one path.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from cache_store.cache import ResponseCache
from cache_store.errors import FlightsClosed
from cache_store.keys import make_key
from cache_store.single_flight import Flight, Seat, SingleFlight
from cache_store.types import CacheQuery, Hit, Miss
from qwen_ui.engines.base import Completion
from qwen_ui.errors import QwenUIError, ShuttingDown
from qwen_ui.types import (
    RECORDED,
    CacheStatus,
    ChatEvent,
    ChatRequest,
    Finish,
    FinishReason,
    ModelState,
    ModelStatus,
    TextDelta,
    ThoughtDelta,
    Usage,
)

_PROGRESS_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Landed:
    """The end of an answer: what it cost, and the seconds it is kept for (None: it is not).

    `first_at` (0: no token came) and `ended_at` are `time.perf_counter` of the engine's thread.
    """

    end: Completion
    kept_s: float | None
    first_at: float
    ended_at: float


# A flight's log: `Miss` once it is settled that the model must answer, or the `Hit` of the second
# look; then what the engine says; in the end Hit, Landed or an error.
Logged = Miss | Hit | ModelStatus | ThoughtDelta | TextDelta | Landed | QwenUIError
Flights = SingleFlight[Logged]


class Replay:
    """A stored answer as the events that it once was; `remote`: of another server's model."""

    def __init__(self, hit: Hit, *, remote: bool = False) -> None:
        self.events = tuple(_replayed(hit, remote))


class Pending:
    """An answer that the model has to give. `stop` may be called by any thread, at any time.

    `remote`: it is another server's model; `once`: it would answer otherwise if asked again, so
    that this answer is neither shared nor stored.
    """

    def __init__(
        self,
        request: ChatRequest,
        query: CacheQuery,
        miss: Miss,
        *,
        remote: bool = False,
        once: bool = False,
    ) -> None:
        self.request = request
        self.query = query
        self.miss = miss
        self.remote = remote
        self._once = once
        self.stopped = False
        self._lock = threading.Lock()
        self._seat: Seat[Logged] | None = None
        self._ring: Callable[[], None] | None = None

    @property
    def status(self) -> CacheStatus:
        """What the cache did about it so far."""
        return CacheStatus(
            key=str(self.miss.key),
            fwd="bypass" if self.miss.why == "bypass" else "miss",
            detail=self.miss.why,
            lookup_s=self.miss.lookup_s,
            similar=self.miss.similar,
        )

    def stop(self) -> None:
        """End it for this reader, and within one token for the model where nobody else reads.

        What was read so far stays with the reader.
        """
        with self._lock:
            seat, ring = self._seat, self._ring
            if seat is None or ring is None:
                self.stopped = True
                return
        seat.leave()
        self.stopped = True  # only now: a reader that sees it may rely on `Flight.stopped`
        ring()

    def join(self, flights: Flights, ring: Callable[[], None]) -> Seat[Logged]:
        """A seat in the flight of exactly this answer. Raises errors.ShuttingDown.

        `max_tokens` is part of the flight's key: a reader that asked for another length would read
        too little or too much. no-cache joins only no-cache; who does not ask for that may join
        either, and read an answer that is newer than he needs.
        """
        control, material = self.request.cache, make_key(self.query)[1]
        anew, usual = ((material, self.query.max_tokens, no_cache) for no_cache in (True, False))
        keep = not (self._once or control.no_store) and (control.ttl_s is None or control.ttl_s > 0)
        key, also = (anew, ()) if control.no_cache else (usual, (anew,))
        try:
            seat = flights.join(key, ring, also=also, keep=keep)
        except FlightsClosed:
            raise ShuttingDown from None
        with self._lock:
            self._seat, self._ring = seat, ring
            stopped = self.stopped
        if stopped:
            seat.leave()
        return seat


class Reader:
    """Reads one flight on the event loop, as the events of one request with its own times."""

    def __init__(self, pending: Pending, flights: Flights, cache: ResponseCache) -> None:
        """Joins. Raises errors.ShuttingDown."""
        self._pending = pending
        self._cache = cache
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

        Raises the QwenUIError that the flight ended with.
        """
        loading = False
        while True:
            for logged in self._seat.take():
                for event in self._told(logged):
                    yield event
                if isinstance(logged, Hit | Landed):
                    return
                loading = isinstance(logged, ModelStatus) and logged.state is not ModelState.READY
            if self._pending.stopped and not self.flight.stopped:  # others read on
                for greeting in self._greeting():
                    yield greeting
                yield Finish(FinishReason.CANCELLED)
                return
            rung = await self._bell.wait(_PROGRESS_EVERY_S if loading else None)
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
                events = _replayed(logged, self._pending.remote)
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


def _replayed(hit: Hit, remote: bool) -> list[ChatEvent]:
    answer = hit.entry.answer
    status = CacheStatus(
        key=str(hit.key),
        hit=True,
        tier=hit.tier.value,
        ttl_s=hit.ttl_s,
        age_s=hit.age_s,
        detail=RECORDED if remote else "",
        lookup_s=hit.lookup_s,
        match=hit.match,
        asked=hit.question,
    )
    usage = Usage(
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token_s=hit.lookup_s,
        elapsed_s=hit.lookup_s,
        busy_s=0.0,
        saved_s=max(0.0, answer.elapsed_s - hit.lookup_s),
        saved_busy_s=answer.busy_s,
    )
    thought = [ThoughtDelta(answer.thought)] if answer.thought else []
    text = [TextDelta(answer.text)] if answer.text else []
    return [status, *thought, *text, usage, Finish(answer.finish_reason)]
