"""One thread per model: in order, each end told exactly once, whatever goes wrong."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_ui.engines.base import (
    Completion,
    EngineClosed,
    EngineEvent,
    Failure,
    Job,
)
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import EngineBusy, GenerationFailed, OutOfMemory
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason
from tests.engines.gated import DONE, Gated, Listener, open_gated, request


@pytest.fixture
def gated() -> Iterator[Gated]:
    with open_gated() as gated:
        yield gated


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
