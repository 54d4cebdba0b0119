"""Stop in the midst of a forward: encoding one big picture takes seconds on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(Exception):
    """Somebody stopped the job; what the forward was writing to is worth nothing."""


@contextmanager
def interruptible(model: Any, stop: threading.Event) -> Iterator[None]:
    """Inside, a forward of `model` raises Stopped before its next layer once `stop` is set."""

    def look(*_: object) -> None:
        if stop.is_set():
            raise Stopped

    layers = (*model.model.visual.blocks, *model.model.language_model.layers)
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
