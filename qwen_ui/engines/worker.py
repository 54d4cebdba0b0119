"""One thread that owns one model: takes jobs in order, reports each one's end exactly once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineClosed,
    Failure,
    GenerationRequest,
    Job,
    Listener,
    OnMove,
    Place,
    Priority,
)
from qwen_ui.engines.pace import Pace
from qwen_ui.engines.queued import QueuedJob
from qwen_ui.engines.retry import run_with_retry
from qwen_ui.engines.schedule import Schedule
from qwen_ui.errors import EngineBusy, GenerationFailed, QwenUIError, without_frames

log = logging.getLogger(__name__)

Run = Callable[[Job], Completion]


class Worker:
    """Runs `run(job)` for each submitted job on one daemon thread, in the order of `schedule`.

    `run` emits deltas through `job.listener`, looks at `job.stop` and returns the Completion;
    what it raises reaches the listener as a Failure. A job that is cancelled before its turn
    leaves the queue at once, and its listener hears of it on the canceller's thread. Several
    models never share a worker.

    An answer stops whatever runs that is none; a picture that is being encoded for what it asks is
    done first. What was prepared goes back to its place and is run again later, from the start,
    without a word to its listener; an audit has ended.
    `on_out_of_memory` drops what can be computed again; the job is then run once more.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        max_queue: int = 32,
        on_out_of_memory: Callable[[], None] | None = None,
    ) -> None:
        self._run = run
        self._free = on_out_of_memory
        self._max_queue = max_queue
        self._schedule: Schedule[QueuedJob] = Schedule()
        self._running: QueuedJob | None = None
        self._began = 0.0
        self._pace = Pace()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._count(Priority.ANSWER)

    def submit(
        self,
        request: GenerationRequest,
        listener: Listener,
        *,
        priority: Priority = Priority.ANSWER,
        visitor: str = "",
        on_move: OnMove | None = None,
    ) -> Job:
        job = QueuedJob(
            request, listener, priority, leave=self._leave, visitor=visitor, on_move=on_move
        )
        with self._changed:
            if self._closed:
                raise EngineClosed
            self._check_room(priority, visitor)
            dropped = self._make_way(priority, Priority.AUDIT, request=request)
            self._schedule.of(priority).add(job, visitor)
            self._tell_places()
            self._changed.notify()
        _cancel(dropped)
        return job

    def close(self) -> None:
        """Let queued answers finish and drop the rest, then end the thread. May be called twice."""
        with self._changed:
            self._closed = True
            dropped = self._make_way(Priority.ANSWER, Priority.PREPARE, Priority.AUDIT)
            self._changed.notify()
        _cancel(dropped)
        self._thread.join()

    # --- under the lock ------------------------------------------------------------------------

    def _count(self, priority: Priority) -> int:
        """Jobs of this kind that are queued or running."""
        running = self._running
        runs = running is not None and running.priority is priority
        return len(self._schedule.of(priority)) + runs

    def _check_room(self, priority: Priority, visitor: str) -> None:
        """One visitor gets no more than half of the places to wait in."""
        busy = self._count(priority)
        if priority is Priority.AUDIT:
            full = self._running is not None or len(self._schedule) > 0
        else:
            his = self._schedule.of(priority).count(visitor) if visitor else 0
            full = busy > self._max_queue or his >= max(1, self._max_queue // 2)
        if full:
            raise EngineBusy(busy)

    def _make_way(
        self, priority: Priority, *drop: Priority, request: GenerationRequest | None = None
    ) -> list[QueuedJob]:
        """Stop what runs if it is of less importance; the queued jobs that are to be dropped."""
        running = self._running
        if running is not None and running.priority > priority and not running.stop.is_set():
            running.stop.after_picture = request is not None and running.serves(request)
            running.stop.set()  # `run` looks at it after each token
        return [job for kind in drop for job in self._schedule.of(kind).order()]

    def _tell_places(self) -> None:
        running = self._running
        answers = self._schedule.of(Priority.ANSWER)
        runs = running is not None and running.priority is Priority.ANSWER
        running_s = time.monotonic() - self._began if runs else 0.0
        for ahead, job in enumerate(answers.order(), start=int(runs)):
            if ahead and job.on_move is not None and ahead != job.told_ahead:
                job.told_ahead = ahead
                job.on_move(Place(ahead, self._pace.wait_s(ahead, running_s)))

    def _next(self) -> QueuedJob | None:
        """The next job, as soon as there is one; None when there will be no more."""
        with self._changed:
            while not len(self._schedule) and not self._closed:
                self._changed.wait()
            self._running = job = self._schedule.take()
            self._began = time.monotonic()
            if job is not None and job.told_ahead and job.on_move is not None:
                job.on_move(Place(0, 0.0))  # its turn has come
            self._tell_places()
            return job

    def _goes_on_later(self, job: QueuedJob, outcome: Completion | Failure) -> bool:
        """It ended; or it was only interrupted, and waits again."""
        self._running = None
        if job.priority is Priority.ANSWER:
            self._pace.took(time.monotonic() - self._began)
        interrupted = (
            job.priority is Priority.PREPARE
            and job.stop.is_set()
            and isinstance(outcome, Completion)
            and outcome.reason is CANCELLED.reason
        )
        if job.cancelled or self._closed or not interrupted:
            return False
        job.stop.clear()
        self._schedule.of(job.priority).put_back(job, job.visitor)
        return True

    # --- the thread ----------------------------------------------------------------------------

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            outcome = self._outcome(job)
            with self._changed:  # before the listener hears of it: a reader may submit at once
                again = self._goes_on_later(job, outcome)
            if not again:
                _report(job, outcome)
            del job, outcome  # an idle worker must not keep pictures alive

    def _outcome(self, job: Job) -> Completion | Failure:
        if job.stop.is_set():
            return CANCELLED
        try:
            if self._free is None:
                return self._run(job)
            return run_with_retry(self._run, job, self._free)
        except QwenUIError as error:
            return Failure(without_frames(error))
        except Exception as error:  # the request boundary of the model's thread
            log.exception("generation failed")
            return Failure(GenerationFailed(f"{type(error).__name__}: {error}"))

    def _leave(self, job: QueuedJob) -> None:
        with self._changed:
            job.cancelled = True
            job.stop.after_picture = False
            job.stop.set()  # `run` looks at it
            queued = self._schedule.of(job.priority).remove(job)
            if queued:
                self._tell_places()
        if queued:
            _report(job, CANCELLED)


def _cancel(jobs: list[QueuedJob]) -> None:
    """Not under the lock: their listeners hear of it."""
    for job in jobs:
        job.cancel()


def _report(job: Job, outcome: Completion | Failure) -> None:
    try:
        job.listener(outcome)
    except Exception:  # a reader's fault must not end the model's thread
        log.exception("a listener failed")
