"""Everybody who joins reads all of it, and a key is computed once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from cache_store.errors import FlightsClosed
from cache_store.single_flight import Seat, SingleFlight

END = "end"


def nothing() -> None:
    pass


def test_the_first_leads_and_the_others_read_from_the_start() -> None:
    flights = SingleFlight[str]()
    leader = flights.join("key", nothing)
    leader.flight.tell("a")
    late = flights.join("key", nothing)
    leader.flight.tell("b")
    leader.flight.land(END)
    assert (leader.leads, late.leads) == (True, False)
    assert leader.take() == late.take() == ["a", "b", END]
    assert len(flights) == 0


def test_another_key_is_another_flight_unless_it_is_allowed() -> None:
    flights = SingleFlight[str]()
    one = flights.join("anew", nothing)
    assert flights.join("usual", nothing, also=["anew"]).flight is one.flight
    assert flights.join("other", nothing).flight is not one.flight


def test_the_last_to_leave_stops_it_and_nobody_joins_it_any_more() -> None:
    flights, stopped = SingleFlight[str](), []
    one, two = flights.join("key", nothing), flights.join("key", nothing)
    one.flight.on_stop(lambda: stopped.append(True))
    one.leave()
    assert (one.flight.stopped, stopped) == (False, [])
    two.close()
    assert (one.flight.stopped, stopped) == (True, [True])
    assert flights.join("key", nothing).leads


def test_nobody_joins_a_stream_that_is_being_cut() -> None:
    flights, joined = SingleFlight[str](), []
    seat = flights.join("key", nothing)
    seat.flight.on_stop(lambda: joined.append(flights.join("key", nothing)))
    seat.leave()
    assert [another.leads for another in joined] == [True]


def test_a_stop_that_came_before_there_was_anything_to_stop_is_not_lost() -> None:
    flights, stopped = SingleFlight[str](), []
    seat = flights.join("key", nothing)
    seat.leave()
    seat.flight.on_stop(lambda: stopped.append(True))
    assert stopped == [True]


def test_from_landing_on_it_is_not_stopped_and_stays_listed() -> None:
    flights = SingleFlight[str]()
    seat = flights.join("key", nothing)
    assert seat.flight.landing()
    seat.leave()
    assert not seat.flight.stopped
    late = flights.join("key", nothing)
    assert not late.leads  # it is being stored: whoever comes now reads it
    seat.flight.land(END)
    assert late.take() == [END]


def test_what_only_no_store_readers_read_is_not_to_be_stored() -> None:
    flights = SingleFlight[str]()
    private = flights.join("key", nothing, keep=False)
    assert flights.join("key", nothing).leads  # it leads nobody
    assert not private.flight.landing()


def test_after_the_end_nothing_is_heard() -> None:
    flights = SingleFlight[str]()
    seat = flights.join("key", nothing)
    seat.flight.land(END)
    seat.flight.tell("late")
    seat.flight.land("another end")
    assert seat.take() == [END]


def test_closed_flights_begin_nothing_and_let_others_join() -> None:
    flights = SingleFlight[str]()
    seat = flights.join("key", nothing)
    flights.close()
    assert not flights.join("key", nothing).leads
    with pytest.raises(FlightsClosed):
        flights.join("other", nothing)
    flights.end(END)
    assert seat.take() == [END]
    assert seat.flight.stopped


class Storm:
    """Readers in many threads, that leave at random; every key is answered by its number."""

    LENGTH = 20

    def __init__(self, keys: int) -> None:
        self.flights = SingleFlight[int]()
        self.stored: dict[int, bool] = {}
        self.computed = [0] * keys
        self.truncated = 0
        self.whole = 0
        self._lock = threading.Lock()
        self._keys = keys

    def read(self, random: random.Random) -> None:
        key = random.randrange(self._keys)
        if key in self.stored:
            return
        woken = threading.Event()
        seat = self.flights.join(key, woken.set)
        if seat.leads:
            threading.Thread(target=self._compute, args=(key, seat)).start()
        leave_at = random.randrange(self.LENGTH) if random.random() < 0.3 else None
        self._follow(seat, woken, leave_at)

    def _follow(self, seat: Seat[int], woken: threading.Event, leave_at: int | None) -> None:
        read: list[int] = []
        while not read or read[-1] != self.LENGTH:
            assert woken.wait(20)
            woken.clear()
            read += seat.take()
            if leave_at is not None and len(read) > leave_at:
                seat.close()
                return
            if seat.flight.stopped:
                break
        with self._lock:
            self.whole += 1
            self.truncated += read != list(range(self.LENGTH + 1))
        seat.close()

    def _compute(self, key: int, seat: Seat[int]) -> None:
        flight = seat.flight
        if key in self.stored:  # the second look
            for event in range(self.LENGTH):
                flight.tell(event)
            flight.land(self.LENGTH)
            return
        for event in range(self.LENGTH):
            if flight.stopped:
                return
            flight.tell(event)
        if flight.landing():
            with self._lock:
                self.computed[key] += 1
            self.stored[key] = True
        flight.land(self.LENGTH)


@pytest.mark.soak
def test_a_storm_of_readers_truncates_nothing_and_computes_each_key_once(
    repetitions: Callable[[int], int],
) -> None:
    for round_number in range(repetitions(50)):
        storm = Storm(keys=6)
        threads = [
            threading.Thread(target=storm.read, args=(random.Random(f"{round_number} {n}"),))
            for n in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert storm.truncated == 0
        assert storm.whole > 0
        assert max(storm.computed) <= 1
        assert len(storm.flights) == 0
