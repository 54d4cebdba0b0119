"""One answer under way, or replayed from the cache.

Live and replay give the same events, so that page and routes have one path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cache_store.errors import FlightsClosed
from cache_store.keys import make_key
from cache_store.single_flight import Seat, SingleFlight
from cache_store.types import CacheQuery, Hit, Miss
from qwen_ui.engines.base import Completion
from qwen_ui.errors import QwenUIError, ShuttingDown
from qwen_ui.events import (
    RECORDED,
    CacheStatus,
    ChatEvent,
    Finish,
    ModelStatus,
    TextDelta,
    ThoughtDelta,
    Usage,
)
from qwen_ui.types import ChatRequest


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
        self.events = tuple(replayed(hit, remote))


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
        too little or too much. So is the generation: who asks after something was forgotten reads
        nothing that was begun before. no-cache joins only no-cache; who does not ask for that may
        join either, and read an answer that is newer than he needs.
        """
        control, material = self.request.cache, make_key(self.query)[1]
        asked = (material, self.query.max_tokens, self.miss.generation)
        anew, usual = ((*asked, no_cache) for no_cache in (True, False))
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


def replayed(hit: Hit, remote: bool) -> list[ChatEvent]:
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
