"""Stop in the midst of a forward: encoding one big picture takes seconds on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(Exception):
    """Somebody stopped the job; what the forward was writing to is worth nothing."""


class StopSign(threading.Event):
    """Stops a job; with `after_picture` not before the picture that is being encoded is done.

    To be chosen before `set`, and again after each `clear`.
    """

    after_picture = False

    def clear(self) -> None:
        super().clear()
        self.after_picture = False


@contextmanager
def interruptible(model: Any, stop: StopSign) -> Iterator[None]:
    """Inside, a forward of `model` raises Stopped before its next layer once `stop` is set."""

    def look(*_: object) -> None:
        if stop.is_set():
            raise Stopped

    def look_in_picture(*_: object) -> None:
        if not stop.after_picture:
            look()

    blocks, layers = model.model.visual.blocks, model.model.language_model.layers
    hooks = [block.register_forward_pre_hook(look_in_picture) for block in blocks]
    hooks += [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
