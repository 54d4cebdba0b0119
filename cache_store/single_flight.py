"""One running computation per key: the first asker leads, the rest read its log from the start.

One lock, under which nothing slow is done, holds these together:

- A listed flight takes readers, and whoever reads it reads every event up to the last.
- Stopping a flight, because its last reader has left, and un-listing it is one step: nobody joins
  a stream that is being cut.
- From `landing` on a flight is not stopped any more, and stays listed until `land`. The answer is
  stored between the two, so that whoever finds no flight finds the answer, if he looks once more.

Nothing here waits. A reader is told by its `wake` that there is more to take; `wake` and `cancel`
are called outside the lock, by whichever thread caused the change, and must neither block nor
raise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from cache_store.errors import FlightsClosed

Event = TypeVar("Event")
Wake = Callable[[], None]


class SingleFlight(Generic[Event]):
    """The running computations, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed: dict[Hashable, Flight[Event]] = {}
        self._closed = False

    def join(
        self, key: Hashable, wake: Wake, *, also: Sequence[Hashable] = (), keep: bool = True
    ) -> Seat[Event]:
        """A seat in the running flight of `key`, else of one of `also`, else in a new one of `key`.

        The one whose seat `leads` must compute. `keep` False is no-store: such a reader may join,
        but the flight that it begins nobody else may, and for its sake alone nothing is stored.
        Raises errors.FlightsClosed where a new flight would be needed after `close`.
        """
        with self._lock:
            for known in (key, *also):
                if known in self._listed:
                    return self._listed[known]._seat(wake, keep, leads=False)
            if self._closed:
                raise FlightsClosed
            flight = Flight[Event](self._lock, self._listed, key if keep else object())
            self._listed[flight.key] = flight
            return flight._seat(wake, keep, leads=True)

    def close(self) -> None:
        """Begin no new flight; those that run go on, and may be joined."""
        with self._lock:
            self._closed = True

    def end(self, last: Event) -> None:
        """Stop every flight; `last` is what its readers hear in the end."""
        with self._lock:
            flights = list(self._listed.values())
        for flight in flights:
            flight._cut(last)

    def __len__(self) -> int:
        with self._lock:
            return len(self._listed)


class Flight(Generic[Event]):
    """One computation: its log, and who reads it. Made by SingleFlight only."""

    def __init__(
        self, lock: threading.Lock, listed: dict[Hashable, Flight[Event]], key: Hashable
    ) -> None:
        self.key = key
        self._lock = lock
        self._listed = listed
        self._log: list[Event] = []
        self._readers: set[Seat[Event]] = set()  # those that want the rest of it
        self._wakes: dict[Seat[Event], Wake] = {}
        self._cancel: Callable[[], None] = _nothing
        self._landing = self._ended = self._stopped = False

    @property
    def stopped(self) -> bool:
        """Its last reader has left: whatever comes now is for nobody but those who left."""
        return self._stopped

    def on_stop(self, cancel: Callable[[], None]) -> None:
        """What ends the computation; called at once where the flight is stopped already."""
        with self._lock:
            self._cancel = cancel
            late = self._stopped
        if late:
            cancel()

    def tell(self, event: Event) -> None:
        """Append to the log. After the end nothing is heard."""
        self._append(event, last=False)

    def landing(self) -> bool:
        """The answer is whole: whether to store it, before `land`.

        False where nobody who reads it wants it kept, and where the flight has been stopped.
        """
        with self._lock:
            self._landing = True
            return not self._ended and any(seat.keep for seat in self._readers)

    def land(self, last: Event) -> None:
        """The last event, of an answer or of a failure; un-lists the flight in the same step."""
        self._append(last, last=True)

    def _cut(self, last: Event) -> None:
        with self._lock:
            if self._landing or self._ended:
                return  # it is whole, and about to tell so
            self._stopped = True
            cancel = self._cancel
        self.land(last)
        cancel()

    def _append(self, event: Event, last: bool) -> None:
        with self._lock:
            if self._ended:
                return
            self._log.append(event)
            if last:
                self._ended = True
                self._unlist()
            wakes = list(self._wakes.values())
        for wake in wakes:
            wake()

    def _seat(self, wake: Wake, keep: bool, leads: bool) -> Seat[Event]:
        """Called under the lock."""
        seat = Seat(self, keep, leads)
        self._readers.add(seat)
        self._wakes[seat] = wake
        return seat

    def _take(self, start: int) -> list[Event]:
        with self._lock:
            return self._log[start:]

    def _leave(self, seat: Seat[Event], forget: bool) -> None:
        with self._lock:
            if forget:
                self._wakes.pop(seat, None)
            if seat not in self._readers:
                return
            self._readers.remove(seat)
            if self._readers or self._landing or self._ended:
                return
            self._stopped = True
            self._unlist()
            cancel = self._cancel
        cancel()

    def _unlist(self) -> None:
        """Called under the lock. Another flight may have the key by now."""
        if self._listed.get(self.key) is self:
            del self._listed[self.key]


class Seat(Generic[Event]):
    """One reader of a flight. `take` is for one thread; `leave` and `close` are for any, any time.

    `leads`: this reader's coming began the flight.
    """

    def __init__(self, flight: Flight[Event], keep: bool, leads: bool) -> None:
        self.flight = flight
        self.keep = keep
        self.leads = leads
        self._taken = 0

    def take(self) -> list[Event]:
        """The events since the last call; the first call has all from the start."""
        events = self.flight._take(self._taken)
        self._taken += len(events)
        return events

    def leave(self) -> None:
        """Want no more of it; the last one to leave stops the flight, and may read how it ends."""
        self.flight._leave(self, forget=False)

    def close(self) -> None:
        """Leave, and be woken no more."""
        self.flight._leave(self, forget=True)


def _nothing() -> None:
    pass
