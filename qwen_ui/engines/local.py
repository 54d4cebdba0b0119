"""What engines of this process have in common: their jobs go to one worker."""

from __future__ import annotations

from qwen_ui.engines.base import (
    GenerationRequest,
    Job,
    Listener,
    OnMove,
    Priority,
    Sampling,
)
from qwen_ui.engines.worker import Worker
from qwen_ui.types import Message


class LocalEngine:
    """The part of `base.Engine` that is the worker's."""

    _worker: Worker

    @property
    def waiting(self) -> int:
        return self._worker.waiting

    def submit(
        self,
        request: GenerationRequest,
        listener: Listener,
        *,
        priority: Priority = Priority.ANSWER,
        visitor: str = "",
        on_move: OnMove | None = None,
    ) -> Job:
        return self._worker.submit(
            request, listener, priority=priority, visitor=visitor, on_move=on_move
        )

    def prepare(self, messages: tuple[Message, ...], sharing: str = "") -> Job:
        request = GenerationRequest(messages, Sampling(), 0, sharing=sharing)
        return self._worker.submit(request, lambda event: None, priority=Priority.PREPARE)
