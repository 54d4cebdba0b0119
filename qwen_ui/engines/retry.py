"""A second try after running out of memory, of which the reader sees nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from qwen_ui.engines.base import Completion, EngineEvent, Job, Listener
from qwen_ui.errors import OutOfMemory

log = logging.getLogger(__name__)


def run_with_retry(
    run: Callable[[Job], Completion], job: Job, free: Callable[[], None]
) -> Completion:
    """`run(job)`; when it runs out of memory `free()` drops caches, and it is run once more.

    The second run says again what was told already, since answers repeat bit for bit: that part is
    not told twice. If it should differ, or memory runs out again, OutOfMemory is raised.
    """
    told = _Told(job.listener)
    job.listener = told
    try:
        try:
            return run(job)
        except OutOfMemory:
            if job.stop.is_set():
                raise
        # outside the handler: its traceback would keep the tensors of the first run alive
        log.warning("out of memory: caches are dropped, and the request is run again")
        free()
        told.rewind()
        end = run(job)
        if told.owes and not job.stop.is_set():
            raise OutOfMemory
        return end
    finally:
        job.listener = told.listener


class _Told:
    """Passes deltas on and remembers them; after `rewind` only what follows them is passed on."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._told: list[EngineEvent] = []
        self._again = 0  # of those, how many were repeated

    def rewind(self) -> None:
        self._again = 0

    @property
    def owes(self) -> bool:
        """Whether something was told that this run did not say again."""
        return self._again < len(self._told)

    def __call__(self, event: EngineEvent) -> None:
        if self._again < len(self._told):
            if event != self._told[self._again]:
                raise OutOfMemory
        else:
            self._told.append(event)
            self.listener(event)
        self._again += 1
