"""Who comes next in the queue of a worker, and what those who wait are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from qwen_ui.engines.base import (
    Completion,
    Job,
    Place,
    Priority,
)
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import EngineBusy
from tests.engines.gated import DONE, Gated, Listener, open_gated, request


@pytest.fixture
def gated() -> Iterator[Gated]:
    with open_gated() as gated:
        yield gated


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
