"""What models read ahead for those who will probably ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from qwen_ui.engines.base import Job

_MOST = 64


class Preparations:
    """One for each visitor, since the pictures that were dropped last are those that a question
    will be about. Thread-safe."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def replace(self, visitor: str, begin: Callable[[], Job]) -> None:
        """Give up this visitor's last one and begin another. Raises what `begin` raises."""
        self._keep(visitor, None)
        self._keep(visitor, begin())

    def clear(self) -> None:
        """Give up all of them."""
        with self._lock:
            gone = list(self._jobs.values())
            self._jobs.clear()
        _cancel(gone)

    def _keep(self, visitor: str, job: Job | None) -> None:
        with self._lock:
            gone = [self._jobs.pop(visitor, None)]
            if job is not None:
                self._jobs[visitor] = job
            if len(self._jobs) > _MOST:
                gone.append(self._jobs.popitem(last=False)[1])
        _cancel(gone)


def _cancel(jobs: Iterable[Job | None]) -> None:
    """Not under the lock: engines have locks of their own."""
    for job in jobs:
        if job is not None:
            job.cancel()
