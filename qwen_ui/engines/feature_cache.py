"""Encoded pictures and pairs of frames: the same one in another place, another conversation, behind
other words."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_ui.engines.features import Features
from qwen_ui.engines.greedy_dual import GreedyDual
from qwen_ui.engines.prompt import VisionKey


@dataclass(slots=True)
class _Row:
    features: Features
    cost_s: float
    rank: float


class FeatureCache:
    """At most `max_bytes` of features; for the engine's thread alone.

    `scope`: whose pictures these are. What one scope made another never gets, since the time that
    it saves would tell that somebody else had the picture.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: dict[tuple[str, VisionKey], _Row] = {}
        self._order = GreedyDual()
        self.nbytes = 0

    def get(self, scope: str, key: VisionKey) -> Features | None:
        row = self._rows.pop((scope, key), None)
        if row is None:
            return None
        row.rank = self._order.rank(row.cost_s, row.features.nbytes)
        self._rows[scope, key] = row  # behind the others: among equals the oldest goes
        return row.features

    def add(self, scope: str, key: VisionKey, features: Features, cost_s: float) -> None:
        """Keep what took `cost_s` to make, unless it alone is more than the budget."""
        if features.nbytes > self._max_bytes or (scope, key) in self._rows:
            return
        rank = self._order.rank(cost_s, features.nbytes)
        self._rows[scope, key] = _Row(features, cost_s, rank)
        self.nbytes += features.nbytes
        while self.nbytes > self._max_bytes:
            self._evict()

    def _evict(self) -> None:
        lowest = min(self._rows, key=lambda key: self._rows[key].rank)
        row = self._rows.pop(lowest)
        self._order.evicted(row.rank)
        self.nbytes -= row.features.nbytes
