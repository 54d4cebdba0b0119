"""A job in a worker's queue, with what the queue must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qwen_ui.engines.base import Job, OnMove


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedJob(Job):
    """Leaves the queue when it is cancelled before its turn.

    `stop` may also be set to let another go first; `cancelled` says that nobody wants it any more.
    Both, and `told_ahead` (the last place told to `on_move`), change under the worker's lock only.
    """

    leave: Callable[[QueuedJob], None]
    visitor: str
    on_move: OnMove | None
    told_ahead: int = 0
    cancelled: bool = False

    def cancel(self) -> None:
        self.leave(self)
