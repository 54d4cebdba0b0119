"""What goes first when memory is short: GreedyDual-Size (Cao and Irani, 1997).

A rank is `clock + seconds it saves per byte`; the lowest goes first, and the clock then stands at
that rank. So what nobody asks for is overtaken by what is newer, and among things of one age those
that save least per byte go first.
"""

from __future__ import annotations


class GreedyDual:
    """The clock of one cache."""

    def __init__(self) -> None:
        self._clock = 0.0

    def rank(self, cost_s: float, nbytes: int) -> float:
        """The rank of something that is used now."""
        return self._clock + cost_s / max(1, nbytes)

    def evicted(self, rank: float) -> None:
        """What had this rank has gone."""
        self._clock = max(self._clock, rank)
