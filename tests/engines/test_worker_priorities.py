"""What a worker does while nobody waits for an answer, and how that gives way to one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    Job,
    Priority,
)
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import EngineBusy
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason
from tests.engines.gated import DONE, Gated, Listener, open_gated, request, until


@pytest.fixture
def gated() -> Iterator[Gated]:
    with open_gated() as gated:
        yield gated


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
