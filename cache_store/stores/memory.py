"""L1: a dictionary with a byte budget, least recently used out first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator

from cache_store.stores.base import Stored


class MemoryStore:
    """Bytes-bounded LRU. A value larger than the whole budget is not kept."""

    def __init__(self, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Stored] = OrderedDict()
        self._tagged: defaultdict[str, set[str]] = defaultdict(set)
        self._bytes = 0

    def get(self, name: str) -> Stored | None:
        with self._lock:
            stored = self._kept.get(name)
            if stored is None:
                return None
            if stored.expires_at <= self._now():
                self._drop(name)
                return None
            self._kept.move_to_end(name)
            return stored

    def put(self, name: str, stored: Stored) -> None:
        with self._lock:
            self._drop(name)
            if len(stored.value) > self._max_bytes:
                return
            self._kept[name] = stored
            self._bytes += len(stored.value)
            for tag in stored.tags:
                self._tagged[tag].add(name)
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def delete(self, name: str) -> None:
        with self._lock:
            self._drop(name)

    def forget(self, tag: str) -> int:
        with self._lock:
            names = list(self._tagged.get(tag, ()))
            for name in names:
                self._drop(name)
            return len(names)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._tagged.clear()
            self._bytes = 0

    def names(self, tag: str | None = None) -> Iterator[str]:
        with self._lock:
            names = self._kept if tag is None else self._tagged.get(tag, ())
            now = self._now()
            return iter([name for name in names if self._kept[name].expires_at > now])

    def size(self) -> tuple[int, int]:
        with self._lock:
            return len(self._kept), self._bytes

    def close(self) -> None:
        self.clear()

    def _drop(self, name: str) -> None:
        stored = self._kept.pop(name, None)
        if stored is None:
            return
        self._bytes -= len(stored.value)
        for tag in stored.tags:
            names = self._tagged[tag]
            names.discard(name)
            if not names:
                del self._tagged[tag]
