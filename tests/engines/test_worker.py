"""One thread per model: in order, each end told exactly once, whatever goes wrong."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineClosed,
    EngineEvent,
    Failure,
    GenerationRequest,
    Job,
    Place,
    Priority,
    Sampling,
)
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import EngineBusy, GenerationFailed, OutOfMemory
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason

DONE = Completion(FinishReason.STOP, 1, 1, 0.0, 0.0, 0.0)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def request(number: int = 0) -> GenerationRequest:
    return GenerationRequest((), Sampling(), number)


class Listener:
    """Collects what it hears; `ended` is set by the last event."""

    def __init__(self) -> None:
        self.heard: list[EngineEvent] = []
        self.threads: set[int] = set()
        self.ended = threading.Event()

    def __call__(self, event: EngineEvent) -> None:
        self.heard.append(event)
        self.threads.add(threading.get_ident())
        if isinstance(event, Completion | Failure):
            self.ended.set()

    def end(self) -> EngineEvent:
        assert self.ended.wait(10)
        return self.heard[-1]


class Gated:
    """A run that waits for its gate and notes what it ran."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Event()
        self.ran: list[int] = []
        self.worker = Worker("test", self.run, max_queue=3)

    def run(self, job: Job) -> Completion:
        self.ran.append(job.request.max_tokens)
        self.began.set()
        while not self.gate.wait(0.01):
            if job.stop.is_set():
                return Completion(FinishReason.CANCELLED, 1, 0, 0.0, 0.0, 0.0)
        job.listener(TextDelta(str(job.request.max_tokens)))
        return DONE


@pytest.fixture
def gated() -> Iterator[Gated]:
    gated = Gated()
    yield gated
    gated.gate.set()
    gated.worker.close()


def test_jobs_run_in_order_on_one_thread(gated: Gated) -> None:
    gated.gate.set()
    listeners = [Listener() for _ in range(3)]
    for number, listener in enumerate(listeners):
        gated.worker.submit(request(number), listener)
    for number, listener in enumerate(listeners):
        assert listener.end() == DONE
        assert listener.heard == [TextDelta(str(number)), DONE]
    assert gated.ran == [0, 1, 2]
    assert len(set.union(*(listener.threads for listener in listeners))) == 1
    assert threading.get_ident() not in listeners[0].threads


def test_a_full_queue_refuses_and_one_that_ended_makes_room(gated: Gated) -> None:
    listeners = [Listener() for _ in range(4)]
    for number, listener in enumerate(listeners):
        gated.worker.submit(request(number), listener)
    assert gated.worker.waiting == 4  # one runs, three wait
    with pytest.raises(EngineBusy, match="4 questions"):
        gated.worker.submit(request(), Listener())
    gated.gate.set()
    listeners[-1].end()
    assert gated.worker.waiting == 0
    last = Listener()
    gated.worker.submit(request(), last)
    assert last.end() == DONE


def test_a_running_job_is_stopped_by_its_own_run(gated: Gated) -> None:
    listener = Listener()
    job = gated.worker.submit(request(), listener)
    assert gated.began.wait(10)
    job.cancel()
    end = listener.end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED
    assert end.prompt_tokens == 1


def test_a_waiting_job_that_is_cancelled_ends_at_once_and_never_runs(gated: Gated) -> None:
    first, second, third = Listener(), Listener(), Listener()
    gated.worker.submit(request(1), first)
    waiting = gated.worker.submit(request(2), second)
    gated.worker.submit(request(3), third)
    assert gated.began.wait(10)
    waiting.cancel()
    waiting.cancel()
    assert second.heard == [Completion(FinishReason.CANCELLED, 0, 0, 0.0, 0.0, 0.0)]
    assert gated.worker.waiting == 2
    gated.gate.set()
    assert third.end() == DONE
    assert gated.ran == [1, 3]
    assert len(second.heard) == 1


def test_a_cancelled_job_makes_room_in_the_queue(gated: Gated) -> None:
    jobs = [gated.worker.submit(request(n), Listener()) for n in range(4)]
    jobs[-1].cancel()
    gated.worker.submit(request(4), Listener())
    with pytest.raises(EngineBusy):
        gated.worker.submit(request(5), Listener())


def test_cancelling_late_does_nothing(gated: Gated) -> None:
    gated.gate.set()
    listener = Listener()
    job = gated.worker.submit(request(), listener)
    listener.end()
    job.cancel()
    assert listener.heard[-1] == DONE
    assert len(listener.heard) == 2
    assert gated.worker.waiting == 0


@pytest.mark.parametrize(
    ("raised", "told"),
    [(OutOfMemory(), "ran out of memory"), (KeyError("x"), "KeyError"), (MemoryError(), "Memory")],
)
def test_what_a_run_raises_reaches_its_listener_and_the_next_job_runs(
    raised: Exception, told: str
) -> None:
    fail = [True]

    def run(job: Job) -> Completion:
        if fail.pop() if fail else False:
            raise raised
        return DONE

    worker = Worker("test", run)
    first, second = Listener(), Listener()
    worker.submit(request(), first)
    worker.submit(request(), second)
    end = first.end()
    assert isinstance(end, Failure)
    assert isinstance(end.error, OutOfMemory | GenerationFailed)
    assert told in str(end.error)
    assert second.end() == DONE
    worker.close()


def test_a_listener_that_raises_at_the_end_does_not_end_the_thread() -> None:
    worker = Worker("test", lambda _: DONE)

    def broken(_: EngineEvent) -> None:
        raise RuntimeError("reader")

    worker.submit(request(), broken)
    listener = Listener()
    worker.submit(request(), listener)
    assert listener.end() == DONE
    worker.close()


def test_closing_finishes_what_is_queued_and_refuses_what_comes_later(gated: Gated) -> None:
    listeners = [Listener() for _ in range(3)]
    for listener in listeners:
        gated.worker.submit(request(), listener)
    closing = threading.Thread(target=gated.worker.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    with pytest.raises(EngineClosed):
        gated.worker.submit(request(), Listener())
    gated.gate.set()
    closing.join(10)
    assert not closing.is_alive()
    assert [listener.end() for listener in listeners] == [DONE] * 3
    gated.worker.close()


def test_a_reader_may_ask_again_the_moment_it_hears_of_the_end() -> None:
    worker = Worker("test", lambda _: DONE, max_queue=1)
    ended = threading.Event()
    seen: list[int] = []

    def listener(event: EngineEvent) -> None:
        seen.append(worker.waiting)
        if len(seen) < 20:
            worker.submit(request(), listener)
        else:
            ended.set()

    worker.submit(request(), listener)
    assert ended.wait(10)
    assert seen == [0] * 20
    worker.close()


def test_an_idle_worker_keeps_no_request_alive() -> None:
    worker = Worker("test", lambda _: DONE)
    listener = Listener()
    job: Job | None = worker.submit(request(), listener)
    listener.end()

    class Probe:
        pass

    probe = Probe()
    gone = weakref.ref(probe)

    def holding(_: EngineEvent, _held: Probe = probe) -> None:
        other.set()

    other = threading.Event()
    job = worker.submit(request(), holding)
    assert other.wait(10)
    last = Listener()
    worker.submit(request(), last)
    last.end()
    del probe, holding, job
    gc.collect()
    assert gone() is None
    worker.close()


def test_each_job_ends_exactly_once_under_cancellation_from_all_sides(
    repetitions: Callable[[int], int],
) -> None:
    worker = Worker("test", lambda _: DONE, max_queue=10_000)
    listeners: list[Listener] = []

    def work(_: int) -> None:
        for turn in range(repetitions(1000)):
            listener = Listener()
            listeners.append(listener)
            job = worker.submit(request(), listener)
            if turn % 2:
                job.cancel()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    worker.close()
    assert worker.waiting == 0
    assert {len(listener.heard) for listener in listeners} == {1}


# --- idle jobs ---------------------------------------------------------------------------------


def test_an_idle_job_runs_when_there_is_nothing_else_and_nobody_sees_it_wait(gated: Gated) -> None:
    listener = Listener()
    gated.worker.submit(request(7), listener, priority=Priority.AUDIT)
    assert gated.began.wait(10)
    assert gated.worker.waiting == 0
    gated.gate.set()
    assert listener.end() == DONE
    assert gated.ran == [7]


def test_an_ordinary_job_stops_the_idle_one_and_runs(gated: Gated) -> None:
    idle, visitor = Listener(), Listener()
    gated.worker.submit(request(1), idle, priority=Priority.AUDIT)
    assert gated.began.wait(10)
    gated.worker.submit(request(2), visitor)
    end = idle.end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED
    gated.gate.set()
    assert visitor.end() == DONE
    assert gated.ran == [1, 2]


def test_an_idle_job_is_refused_while_anything_runs_or_waits(gated: Gated) -> None:
    gated.worker.submit(request(1), Listener())
    with pytest.raises(EngineBusy):
        gated.worker.submit(request(2), Listener(), priority=Priority.AUDIT)
    gated.gate.set()


def test_there_is_one_idle_job_at_most_and_it_takes_no_place(gated: Gated) -> None:
    first = gated.worker.submit(request(1), Listener(), priority=Priority.AUDIT)
    with pytest.raises(EngineBusy):
        gated.worker.submit(request(2), Listener(), priority=Priority.AUDIT)
    assert gated.began.wait(10)
    listeners = [Listener() for _ in range(4)]  # one to run, three to wait: as without it
    for number, listener in enumerate(listeners):
        gated.worker.submit(request(number), listener)
    gated.gate.set()
    assert [listener.end() for listener in listeners] == [DONE] * 4
    assert first.stop.is_set()


def test_closing_stops_an_idle_job(gated: Gated) -> None:
    listener = Listener()
    gated.worker.submit(request(1), listener, priority=Priority.AUDIT)
    assert gated.began.wait(10)
    gated.worker.close()
    end = listener.end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED


def test_an_idle_job_never_delays_or_outlives_ordinary_ones(
    repetitions: Callable[[int], int],
) -> None:
    ran: list[int] = []

    def run(job: Job) -> Completion:
        ran.append(job.request.max_tokens)
        return DONE

    worker = Worker("test", run, max_queue=10_000)
    idle: list[Listener] = []
    asked: list[Listener] = []

    def audit() -> None:
        for _ in range(repetitions(3000)):
            listener = Listener()
            try:
                worker.submit(request(-1), listener, priority=Priority.AUDIT)
            except EngineBusy:
                continue
            idle.append(listener)

    with ThreadPoolExecutor(3) as pool:
        auditing = pool.submit(audit)
        for number in range(repetitions(3000)):
            listener = Listener()
            asked.append(listener)
            worker.submit(request(number), listener)
        auditing.result()
    worker.close()
    assert worker.waiting == 0
    assert [listener.end() for listener in asked] == [DONE] * len(asked)
    assert {len(listener.heard) for listener in (*idle, *asked)} == {1}
    assert [number for number in ran if number >= 0] == list(range(len(asked)))


# --- what is prepared --------------------------------------------------------------------------


def test_an_answer_interrupts_what_is_prepared_and_that_goes_on_afterwards(gated: Gated) -> None:
    prepared, visitor = Listener(), Listener()
    gated.worker.submit(request(1), prepared, priority=Priority.PREPARE)
    assert gated.began.wait(10)
    gated.worker.submit(request(2), visitor)
    until(lambda: gated.ran == [1, 2])
    assert prepared.heard == []
    gated.gate.set()
    assert prepared.end() == DONE
    assert gated.ran == [1, 2, 1]
    assert prepared.heard == [TextDelta("1"), DONE]
    assert visitor.heard == [TextDelta("2"), DONE]


def test_several_are_prepared_in_order_and_none_is_counted_as_waiting(gated: Gated) -> None:
    listeners = [Listener() for _ in range(3)]
    for number, listener in enumerate(listeners):
        gated.worker.submit(request(number), listener, priority=Priority.PREPARE)
    assert gated.worker.waiting == 0
    gated.gate.set()
    assert [listener.end() for listener in listeners] == [DONE] * 3
    assert gated.ran == [0, 1, 2]


def test_what_is_prepared_is_bounded_and_leaves_the_places_of_answers_alone(gated: Gated) -> None:
    prepared = [Listener() for _ in range(4)]
    for listener in prepared:
        gated.worker.submit(request(), listener, priority=Priority.PREPARE)
    with pytest.raises(EngineBusy):
        gated.worker.submit(request(), Listener(), priority=Priority.PREPARE)
    answers = [Listener() for _ in range(4)]
    for listener in answers:
        gated.worker.submit(request(1), listener)
    gated.gate.set()
    assert [listener.end() for listener in (*answers, *prepared)] == [DONE] * 8


@pytest.mark.parametrize("when", ["running", "interrupted"])
def test_what_is_prepared_can_be_cancelled(gated: Gated, when: str) -> None:
    prepared = Listener()
    job = gated.worker.submit(request(1), prepared, priority=Priority.PREPARE)
    assert gated.began.wait(10)
    if when == "interrupted":
        gated.worker.submit(request(2), Listener())
        until(lambda: gated.ran == [1, 2])
    job.cancel()
    end = prepared.end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED
    gated.gate.set()
    last = Listener()
    gated.worker.submit(request(3), last)
    last.end()
    assert gated.ran.count(1) == 1
    assert len(prepared.heard) == 1


def test_preparing_ends_an_audit_and_no_audit_begins_before_it_is_done(gated: Gated) -> None:
    audit, prepared = Listener(), Listener()
    gated.worker.submit(request(1), audit, priority=Priority.AUDIT)
    assert gated.began.wait(10)
    gated.worker.submit(request(2), prepared, priority=Priority.PREPARE)
    end = audit.end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED
    with pytest.raises(EngineBusy):
        gated.worker.submit(request(3), Listener(), priority=Priority.AUDIT)
    gated.gate.set()
    assert prepared.end() == DONE
    assert gated.ran == [1, 2]


def test_closing_ends_what_is_prepared_running_or_not(gated: Gated) -> None:
    listeners = [Listener() for _ in range(3)]
    for listener in listeners:
        gated.worker.submit(request(1), listener, priority=Priority.PREPARE)
    assert gated.began.wait(10)
    gated.worker.close()
    assert [listener.heard[-1] for listener in listeners[1:]] == [CANCELLED] * 2
    end = listeners[0].end()
    assert isinstance(end, Completion)
    assert end.reason is FinishReason.CANCELLED
    assert gated.ran == [1]


def test_each_job_of_any_kind_ends_exactly_once_while_others_interrupt_and_cancel(
    repetitions: Callable[[int], int],
) -> None:
    def run(job: Job) -> Completion:
        return CANCELLED if job.stop.is_set() else DONE

    worker = Worker("test", run, max_queue=10_000)
    listeners: list[Listener] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(repetitions(500)):
            listener = Listener()
            try:
                job = worker.submit(
                    request(), listener, priority=draw.choice(list(Priority)),
                    visitor=draw.choice("ab"), on_move=lambda place: None,
                )  # fmt: skip
            except EngineBusy:
                continue
            listeners.append(listener)
            if draw.random() < 0.3:
                job.cancel()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert all(listener.ended.wait(20) for listener in listeners)
    worker.close()
    assert {len(listener.heard) for listener in listeners} == {1}


# --- places ------------------------------------------------------------------------------------


def test_visitors_take_turns(gated: Gated) -> None:
    last = Listener()
    gated.worker.submit(request(1), Listener(), visitor="a")
    assert gated.began.wait(10)
    gated.worker.submit(request(2), last, visitor="a")
    gated.worker.submit(request(3), Listener(), visitor="b")
    gated.worker.submit(request(4), Listener(), visitor="c")
    gated.gate.set()
    last.end()
    assert gated.ran == [1, 3, 4, 2]


def test_one_visitor_gets_half_of_the_places_to_wait_in() -> None:
    gate = threading.Event()
    began = threading.Event()

    def run(job: Job) -> Completion:
        began.set()
        assert gate.wait(10)
        return DONE

    worker = Worker("test", run, max_queue=4)
    worker.submit(request(), Listener(), visitor="a")
    assert began.wait(10)
    for _ in range(2):
        worker.submit(request(), Listener(), visitor="a")
    with pytest.raises(EngineBusy):
        worker.submit(request(), Listener(), visitor="a")
    for visitor in ("b", ""):
        worker.submit(request(), Listener(), visitor=visitor)
    gate.set()
    worker.close()


def test_who_waits_hears_his_place_at_first_and_whenever_it_changes(gated: Gated) -> None:
    places: dict[str, list[int]] = {name: [] for name in "abc"}

    def submit(visitor: str) -> Job:
        heard = places[visitor]
        return gated.worker.submit(
            request(), Listener(), visitor=visitor, on_move=lambda place: heard.append(place.ahead)
        )

    gated.worker.submit(request(), Listener(), visitor="a")
    assert gated.began.wait(10)
    submit("a")
    second = submit("b")  # goes before a's second
    submit("c")
    assert places == {"a": [1, 2, 3], "b": [1], "c": [2]}
    second.cancel()
    assert places == {"a": [1, 2, 3, 2], "b": [1], "c": [2, 1]}
    gated.gate.set()
    gated.worker.close()
    assert places == {"a": [1, 2, 3, 2, 1, 0], "b": [1], "c": [2, 1, 0]}


def test_nobody_hears_of_a_place_that_need_not_wait(gated: Gated) -> None:
    places: list[Place] = []
    gated.worker.submit(request(1), Listener(), priority=Priority.PREPARE)
    assert gated.began.wait(10)
    answer = Listener()
    gated.worker.submit(request(2), answer, on_move=places.append)
    gated.gate.set()
    answer.end()
    assert places == []


def test_the_wait_is_judged_by_the_answers_before() -> None:
    gate = threading.Event()

    def run(job: Job) -> Completion:
        if job.request.max_tokens:
            assert gate.wait(10)
        else:
            time.sleep(0.05)
        return DONE

    worker = Worker("test", run)
    places: list[Place] = []
    worker.submit(request(0), Listener(), on_move=places.append)
    worker.submit(request(0), last := Listener(), on_move=places.append)
    last.end()
    worker.submit(request(1), Listener())
    worker.submit(request(1), Listener(), on_move=places.append)
    worker.submit(request(1), Listener(), on_move=places.append)
    gate.set()
    worker.close()
    first, turn, *later = places
    assert [place.ahead for place in (first, turn, *later[:2])] == [1, 0, 1, 2]
    unknown, one, two = first.wait_s, later[0].wait_s, later[1].wait_s
    assert unknown is None
    assert one is not None
    assert two is not None
    assert 0 <= one <= 0.5
    assert 0.05 <= two - one + 0.01 <= 0.5


# --- out of memory -----------------------------------------------------------------------------


def test_caches_are_dropped_and_the_job_runs_again_where_the_engine_can_do_that() -> None:
    tries: list[int] = []
    freed: list[int] = []

    def run(job: Job) -> Completion:
        tries.append(1)
        job.listener(TextDelta("a"))
        if len(tries) == 1:
            raise OutOfMemory
        return DONE

    worker = Worker("test", run, on_out_of_memory=lambda: freed.append(1))
    listener = Listener()
    worker.submit(request(), listener)
    listener.end()
    worker.close()
    assert listener.heard == [TextDelta("a"), DONE]
    assert (len(tries), len(freed)) == (2, 1)
