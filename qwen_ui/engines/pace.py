"""How long a place in the queue will probably last."""

from __future__ import annotations

from collections import deque

_REMEMBERED = 16


class Pace:
    """Judges by how long the last answers held the model: their mean, since waits add up.

    One who waits behind n answers waits n means, less what the running one has had already (at
    most one mean). Not thread-safe.
    """

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=_REMEMBERED)

    def took(self, seconds: float) -> None:
        """An answer has held the model for so long, whether it was finished or stopped."""
        self._took.append(seconds)

    def wait_s(self, ahead: int, running_s: float) -> float | None:
        """Behind `ahead` answers, the first of which has run for `running_s`; None: no answer yet
        to judge by."""
        if not self._took:
            return None
        mean = sum(self._took) / len(self._took)
        return ahead * mean - min(mean, running_s)
