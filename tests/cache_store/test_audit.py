"""Hits are run again when there is time, and what differs is served to nobody any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cache_store.audit import Auditor, same
from cache_store.cache import ResponseCache, open_cache
from cache_store.errors import CannotRepeat
from cache_store.types import Answer, CacheQuery, CacheStats, Evicted, FinishReason, Hit, Miss
from tests.cache_store.samples import ANSWER, QUERY, answer, asked


class Repeater:
    """Answers from a dictionary; None while `busy`."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self.answers: dict[str, Answer] = {}
        self.read: list[str] = []
        self.repeated: list[str] = []
        self.sizes: dict[str, int] = {}
        self.gone = False

    def bytes_of(self, request: str) -> int:
        return self.sizes.get(request, 10)

    def hold(self, request: str) -> str:
        self.read.append(request)
        if self.gone:
            raise CannotRepeat("the picture is gone")
        return f"{request} held"

    def repeat(self, request: str) -> Answer | None:
        self.repeated.append(request)
        if self.busy.is_set():
            return None
        name = request.removesuffix(" held")
        if name not in self.answers:
            raise CannotRepeat("the model is gone")
        return self.answers[name]


class Rig:
    def __init__(self, rate: float = 1.0, chance: Callable[[], float] = lambda: 0.0) -> None:
        self.cache: ResponseCache = open_cache(None)
        self.repeater = Repeater()
        self.auditor: Auditor[str] = Auditor(
            self.cache, self.repeater, rate, max_bytes=100, chance=chance
        )

    def hit(self, query: CacheQuery = QUERY, served: Answer = ANSWER) -> Hit:
        self.cache.store(query, served)
        found = self.cache.lookup(query)
        assert isinstance(found, Hit)
        return found

    def sample(self, name: str = "one", *, remote: bool = False) -> None:
        query = asked(name)
        self.auditor.sample(query, self.hit(query), name, remote=remote)

    def until(self, reached: Callable[[CacheStats], object]) -> CacheStats:
        deadline = time.monotonic() + 10
        while not reached(stats := self.cache.stats()):
            assert time.monotonic() < deadline, stats
            time.sleep(0.005)
        return stats


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.auditor.close()
    rig.cache.close()


def test_an_equal_repetition_is_counted_and_the_entry_stays(rig: Rig) -> None:
    rig.repeater.answers["one"] = replace(ANSWER, elapsed_s=99.0, busy_s=77.0)
    rig.sample()
    stats = rig.until(lambda stats: stats.audited)
    assert (stats.audited, stats.mismatched, stats.unaudited) == (1, 0, 0)
    assert stats.mismatch_bound == pytest.approx(0.95)
    assert isinstance(rig.cache.lookup(asked("one")), Hit)
    assert rig.repeater.repeated == ["one held"]


@pytest.mark.parametrize(
    "changes",
    [{"text": "A cat"}, {"text": "A cat. "}, {"thought": "hm"}, {"finish_reason": "length"}],
)
def test_a_mismatch_deletes_the_entry(rig: Rig, changes: dict[str, str]) -> None:
    if "finish_reason" in changes:
        changes["finish_reason"] = FinishReason.LENGTH
    rig.repeater.answers["one"] = answer(**changes)
    rig.sample()
    stats = rig.until(lambda stats: stats.evicted[Evicted.QUARANTINED])
    assert (stats.audited, stats.mismatched) == (1, 1)
    assert stats.mismatch_bound == 1.0
    assert isinstance(rig.cache.lookup(asked("one")), Miss)


def test_drift_of_a_remote_server_is_reported_and_deletes_nothing(rig: Rig) -> None:
    rig.repeater.answers["one"] = answer(text="A dog.")
    rig.sample(remote=True)
    stats = rig.until(lambda stats: stats.audited_remote)
    assert (stats.audited_remote, stats.drifted) == (1, 1)
    assert (stats.audited, stats.mismatched, stats.evicted[Evicted.QUARANTINED]) == (0, 0, 0)
    assert isinstance(rig.cache.lookup(asked("one")), Hit)


def test_nothing_is_judged_while_the_model_is_busy_and_everything_later(rig: Rig) -> None:
    rig.repeater.busy.set()
    for name in ("one", "two"):
        rig.repeater.answers[name] = ANSWER
        rig.sample(name)
    rig.until(lambda _: {"one held", "two held"} <= set(rig.repeater.repeated))
    assert rig.cache.stats().audited == 0
    rig.repeater.busy.clear()
    assert rig.until(lambda stats: stats.audited == 2).mismatched == 0


def test_an_entry_that_was_replaced_meanwhile_is_neither_judged_nor_deleted(rig: Rig) -> None:
    rig.repeater.busy.set()
    rig.repeater.answers["one"] = ANSWER
    rig.sample()
    rig.until(lambda _: rig.repeater.repeated)
    rig.cache.store(asked("one"), answer(text="Another one."))
    rig.repeater.busy.clear()
    rig.until(lambda _: not rig.auditor._names)
    stats = rig.cache.stats()
    assert (stats.audited, stats.mismatched, stats.unaudited) == (0, 0, 0)
    assert isinstance(rig.cache.lookup(asked("one")), Hit)


def test_quarantine_spares_an_answer_that_is_not_the_one_that_was_judged(rig: Rig) -> None:
    rig.cache.store(QUERY, answer(text="newer"))
    rig.cache.quarantine(QUERY, ANSWER)
    assert isinstance(rig.cache.lookup(QUERY), Hit)


def test_an_answer_that_was_cut_at_its_length_is_quarantined_too(rig: Rig) -> None:
    cut = answer(finish_reason=FinishReason.LENGTH, completion_tokens=QUERY.max_tokens)
    rig.cache.store(QUERY, cut)
    rig.cache.quarantine(QUERY, cut)
    assert isinstance(rig.cache.lookup(QUERY), Miss)


def test_forgotten_answers_leave_the_queue(rig: Rig) -> None:
    rig.repeater.busy.set()
    rig.sample("one")
    rig.sample("two")
    rig.until(lambda _: len(rig.auditor._held) == 2)
    rig.auditor.clear()
    rig.repeater.busy.clear()
    time.sleep(0.05)
    assert rig.cache.stats().audited == 0
    assert not rig.auditor._held


def test_the_queue_is_bounded_by_bytes(rig: Rig) -> None:
    rig.repeater.busy.set()
    for name, size in (("one", 60), ("two", 41), ("three", 40)):
        rig.repeater.sizes[name] = size
        rig.repeater.answers[name] = ANSWER
        rig.sample(name)
    rig.until(lambda stats: stats.unaudited == 1 and len(rig.auditor._held) == 2)
    assert {sample.request for sample in rig.auditor._held} == {"one held", "three held"}
    assert rig.repeater.read == ["one", "three"]  # what has no room is not even read
    rig.repeater.busy.clear()
    rig.until(lambda stats: stats.audited == 2)


def test_a_burst_of_samples_is_bounded_before_their_pixels_are_read(rig: Rig) -> None:
    waiting, go = threading.Event(), threading.Event()

    def hold(request: str) -> str:
        waiting.set()
        assert go.wait(10)
        return request

    rig.repeater.hold = hold  # type: ignore[method-assign]
    rig.repeater.busy.set()
    rig.sample("first")
    assert waiting.wait(10)
    for number in range(70):
        rig.sample(str(number))
    assert rig.cache.stats().unaudited == 6
    go.set()


def test_a_hit_that_waits_already_is_not_taken_twice(rig: Rig) -> None:
    rig.repeater.busy.set()
    for _ in range(5):
        rig.sample()
    rig.until(lambda _: rig.repeater.repeated)
    assert len(rig.auditor._held) == 1


def test_what_cannot_be_repeated_is_counted_and_the_next_one_is_audited(rig: Rig) -> None:
    rig.repeater.gone = True
    rig.sample("one")
    rig.until(lambda stats: stats.unaudited == 1)
    rig.repeater.gone = False
    rig.sample("two")  # no answer for it: the model is gone
    rig.until(lambda stats: stats.unaudited == 2)
    rig.repeater.answers["three"] = ANSWER
    rig.sample("three")
    rig.until(lambda stats: stats.audited == 1)


def test_the_rate_is_the_share_of_hits_that_are_taken() -> None:
    drawn = iter([0.0, 0.24, 0.25, 0.9])
    rig = Rig(0.25, lambda: next(drawn))
    for number in range(4):
        rig.repeater.answers[str(number)] = ANSWER
        rig.sample(str(number))
    rig.until(lambda stats: stats.audited == 2)
    assert rig.repeater.repeated == ["0 held", "1 held"]
    rig.auditor.close()
    rig.cache.close()


def test_at_rate_zero_nothing_runs_not_even_a_thread() -> None:
    rig = Rig(0.0)
    rig.sample()
    assert rig.auditor._thread is None
    rig.auditor.close()
    rig.cache.close()


def test_closing_ends_the_thread_and_takes_no_more(rig: Rig) -> None:
    rig.repeater.busy.set()
    rig.sample("one")
    rig.until(lambda _: rig.repeater.repeated)
    rig.auditor.close()
    thread = rig.auditor._thread
    assert thread is not None
    assert not thread.is_alive()
    rig.sample("two")
    assert not rig.auditor._names


def test_equal_means_every_character_and_the_same_end() -> None:
    assert same(ANSWER, replace(ANSWER, first_token_s=9.0, prompt_tokens=1))
    assert not same(ANSWER, replace(ANSWER, text=ANSWER.text.replace("A", "А")))  # Cyrillic
