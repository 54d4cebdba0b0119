"""Whether a second look into the stores can find what the first one did not."""

from __future__ import annotations

import time

from cache_store.types import Look

_JUST_NOW_S = 0.05


class Looks:
    """What one process stores. Thread-safe: marks are told apart by identity, and never counted.

    Other processes store too: a look that is not from just now is worth repeating.
    """

    def __init__(self) -> None:
        self._newest = object()

    def stored(self) -> None:
        """An answer can be found from now on."""
        self._newest = object()

    def look(self) -> Look:
        """To be taken before looking."""
        return Look(self._newest, time.monotonic())

    def worth_repeating(self, look: Look | None) -> bool:
        if look is None or look.newest is not self._newest:
            return True
        return time.monotonic() > look.at + _JUST_NOW_S
