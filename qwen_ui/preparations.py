"""What models read ahead for those who will probably ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

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
        with self._lock:
            gone = [job for job in (self._jobs.pop(visitor, None),) if job is not None]
        _cancel(gone)
        job = begin()
        with self._lock:
            self._jobs[visitor] = job
            gone = [self._jobs.popitem(last=False)[1]] if len(self._jobs) > _MOST else []
        _cancel(gone)

    def clear(self) -> None:
        """Give up all of them."""
        with self._lock:
            gone = list(self._jobs.values())
            self._jobs.clear()
        _cancel(gone)


def _cancel(jobs: list[Job]) -> None:
    """Not under the lock: engines have locks of their own."""
    for job in jobs:
        job.cancel()
