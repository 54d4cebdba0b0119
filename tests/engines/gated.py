"""A worker whose jobs wait for a gate, and what its listeners hear."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qwen_ui.engines.base import (
    Completion,
    EngineEvent,
    Failure,
    GenerationRequest,
    Job,
    Sampling,
)
from qwen_ui.engines.worker import Worker
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


@contextmanager
def open_gated() -> Iterator[Gated]:
    gated = Gated()
    yield gated
    gated.gate.set()
    gated.worker.close()
