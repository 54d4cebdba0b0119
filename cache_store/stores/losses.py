"""What a store lost by itself, under the names that `stats` counts it by."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class Losses:
    """Adds up until somebody takes it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, **amounts: int) -> None:
        with self._lock:
            self._counts.update(amounts)

    def take(self) -> Mapping[str, int]:
        """What was added since the last call."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken
