"""One thread that owns one model: takes jobs in order, reports each one's end exactly once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineClosed,
    Failure,
    GenerationRequest,
    Job,
    Listener,
)
from qwen_ui.errors import EngineBusy, GenerationFailed, QwenUIError

log = logging.getLogger(__name__)

Run = Callable[[Job], Completion]


class Worker:
    """Runs `run(job)` for each submitted job, one after another, on one daemon thread.

    `run` emits deltas through `job.listener`, looks at `job.stop` and returns the Completion;
    what it raises reaches the listener as a Failure. A job that is cancelled before its turn
    leaves the queue at once, and its listener hears of it on the canceller's thread. Several
    models never share a worker. There is at most one idle job, nobody waits behind it: it is
    refused unless the thread has nothing to do, and stopped by the next ordinary job.
    """

    def __init__(self, name: str, run: Run, max_queue: int = 32) -> None:
        self._run = run
        self._queue: deque[_Queued] = deque()
        self._changed = threading.Condition()
        self._pending = 0  # ordinary jobs
        self._idle: Job | None = None
        self._max_pending = max_queue + 1
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._pending

    def submit(self, request: GenerationRequest, listener: Listener, *, idle: bool = False) -> Job:
        job = _Queued(request, listener, self._leave)
        with self._changed:
            if self._closed:
                raise EngineClosed
            if idle:
                self._take_idle(job)
            else:
                self._take()
            self._queue.append(job)
            self._changed.notify()
        return job

    def close(self) -> None:
        """Let queued jobs finish, then end the thread. May be called twice."""
        with self._changed:
            self._closed = True
            self._stop_idle()
            self._changed.notify()
        self._thread.join()

    def _take(self) -> None:
        if self._pending >= self._max_pending:
            raise EngineBusy(self._pending)
        self._pending += 1
        self._stop_idle()

    def _take_idle(self, job: Job) -> None:
        if self._pending or self._idle is not None:
            raise EngineBusy(self._pending)
        self._idle = job

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.stop.set()  # `run` looks at it after each token

    def _is_over(self, job: Job) -> None:
        if job is self._idle:
            self._idle = None
        else:
            self._pending -= 1

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            outcome = self._outcome(job)
            with self._changed:  # before the listener hears of it: a reader may submit at once
                self._is_over(job)
            _report(job, outcome)
            del job, outcome  # an idle worker must not keep pictures alive

    def _next(self) -> Job | None:
        """The oldest job, as soon as there is one; None when there will be no more."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            return self._queue.popleft() if self._queue else None

    def _leave(self, job: Job) -> None:
        with self._changed:
            place = next((i for i, queued in enumerate(self._queue) if queued is job), None)
            if place is None:
                return  # running or over: `run` looks at `job.stop`
            del self._queue[place]
            self._is_over(job)
        _report(job, CANCELLED)

    def _outcome(self, job: Job) -> Completion | Failure:
        if job.stop.is_set():
            return CANCELLED
        try:
            return self._run(job)
        except QwenUIError as error:
            return Failure(error)
        except Exception as error:  # the request boundary of the model's thread
            log.exception("generation failed")
            return Failure(GenerationFailed(f"{type(error).__name__}: {error}"))


class _Queued(Job):
    """A job that leaves the queue when it is cancelled before its turn."""

    __slots__ = ("_leave",)

    def __init__(
        self, request: GenerationRequest, listener: Listener, leave: Callable[[Job], None]
    ) -> None:
        super().__init__(request, listener)
        self._leave = leave

    def cancel(self) -> None:
        self.stop.set()
        self._leave(self)


def _report(job: Job, outcome: Completion | Failure) -> None:
    try:
        job.listener(outcome)
    except Exception:  # a reader's fault must not end the model's thread
        log.exception("a listener failed")
