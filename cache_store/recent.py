"""What was used last, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The values of the `most` keys that were used last. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> V | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: str, value: V) -> None:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def pop(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def remove(self, matches: Callable[[V], bool]) -> None:
        """Every value that is meant."""
        with self._lock:
            for key in [key for key, value in self._kept.items() if matches(value)]:
                del self._kept[key]

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
