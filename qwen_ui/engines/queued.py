"""A job in a worker's queue, with what the queue must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qwen_ui.engines.base import GenerationRequest, Job, OnMove, Priority


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

    def serves(self, asked: GenerationRequest) -> bool:
        """It prepares, and every picture of it is one that `asked` needs and may share."""
        mine = self.request
        return (
            self.priority is Priority.PREPARE
            and mine.sharing == asked.sharing
            and _pictures(mine) <= _pictures(asked)
        )


def _pictures(request: GenerationRequest) -> set[str]:
    parts = (part for message in request.messages for part in message.parts)
    return {part.digest for part in parts if not isinstance(part, str)}
