"""One thread that owns one model: takes jobs in order, reports each one's end exactly once."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from qwen_ui.engines.base import Completion, EngineClosed, Failure, GenerationRequest, Job, Listener
from qwen_ui.errors import EngineBusy, GenerationFailed, QwenUIError
from qwen_ui.types import FinishReason

log = logging.getLogger(__name__)

Run = Callable[[Job], Completion]


class Worker:
    """Runs `run(job)` for each submitted job, one after another, on one daemon thread.

    `run` emits deltas through `job.listener`, looks at `job.stop` and returns the Completion;
    what it raises reaches the listener as a Failure. Several models never share a worker.
    """

    def __init__(self, name: str, run: Run, max_queue: int = 32) -> None:
        self._run = run
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._pending = 0
        self._max_pending = max_queue + 1
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._pending

    def submit(self, request: GenerationRequest, listener: Listener) -> Job:
        job = Job(request, listener)
        with self._lock:
            if self._closed:
                raise EngineClosed
            if self._pending >= self._max_pending:
                raise EngineBusy(self._pending)
            self._pending += 1
            self._jobs.put(job)
        return job

    def close(self) -> None:
        """Let queued jobs finish, then end the thread. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome = self._outcome(job)
            with self._lock:  # before the listener hears of it: a reader may submit at once
                self._pending -= 1
            try:
                job.listener(outcome)
            except Exception:  # a reader's fault must not end the model's thread
                log.exception("a listener failed")
            del job, outcome  # an idle worker must not keep pictures alive

    def _outcome(self, job: Job) -> Completion | Failure:
        if job.stop.is_set():
            return Completion(FinishReason.CANCELLED, 0, 0, 0.0, 0.0, 0.0)
        try:
            return self._run(job)
        except QwenUIError as error:
            return Failure(error)
        except Exception as error:  # the request boundary of the model's thread
            log.exception("generation failed")
            return Failure(GenerationFailed(f"{type(error).__name__}: {error}"))
