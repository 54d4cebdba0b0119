"""L1: a dictionary with a byte budget, least recently used out first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from cache_store.stores.base import Stored, named, new_generation
from cache_store.stores.losses import Losses


class MemoryStore:
    """Bytes-bounded LRU. A value larger than the whole budget is not kept."""

    def __init__(self, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Stored] = OrderedDict()
        self._tagged: defaultdict[str, set[str]] = defaultdict(set)
        self._bytes = 0
        self._generation = new_generation()
        self._replaced = 0
        self._losses = Losses()

    def get(self, name: str) -> Stored | None:
        with self._lock:
            stored = self._current(name)
            if stored is not None:
                self._kept.move_to_end(name)
            return stored

    def peek(self, name: str) -> Stored | None:
        with self._lock:
            return self._current(name)

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        with self._lock:
            if generation not in (None, self._generation):
                return False
            self._replaced += self._current(name) is not None
            self._drop(name)
            fits = len(stored.value) <= self._max_bytes
            if fits:
                self._keep(name, stored)
            return fits

    def delete(self, name: str) -> None:
        with self._lock:
            self._drop(name)

    def forget(self, tag: str) -> int:
        with self._lock:
            self._generation = new_generation()
            names = self._with(tag)
            for name in list(names):
                self._drop(name)
            return len(names)

    def clear(self) -> int:
        with self._lock:
            count = len(self._kept)
            self._generation = new_generation()
            self._kept.clear()
            self._tagged.clear()
            self._bytes = 0
            return count

    def generation(self) -> int:
        return self._generation

    def replaced(self) -> object:
        return self._replaced

    def names(self, tag: str | None = None) -> Iterator[str]:
        with self._lock:
            names = self._kept if tag is None else self._with(tag)
            now = self._now()
            return iter([name for name in names if self._kept[name].expires_at > now])

    def touch(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                if name in self._kept:
                    self._kept.move_to_end(name)

    def sweep(self) -> None:
        with self._lock:
            now = self._now()
            for name in [name for name, s in self._kept.items() if s.expires_at <= now]:
                self._evict(name)

    def size(self) -> tuple[int, int]:
        with self._lock:
            return len(self._kept), self._bytes

    def lost(self) -> Mapping[str, int]:
        return self._losses.take()

    def close(self) -> None:
        self.clear()

    def _current(self, name: str) -> Stored | None:
        stored = self._kept.get(name)
        if stored is not None and stored.expires_at <= self._now():
            self._evict(name)
            return None
        return stored

    def _keep(self, name: str, stored: Stored) -> None:
        self._kept[name] = stored
        self._bytes += len(stored.value)
        for tag in stored.tags:
            self._tagged[tag].add(name)
        while self._bytes > self._max_bytes:
            self._evict(next(iter(self._kept)))

    def _with(self, tag: str) -> Collection[str]:
        name = named(tag)
        if name is not None:
            return [name] if name in self._kept else []
        return list(self._tagged.get(tag, ()))

    def _evict(self, name: str) -> None:
        """Drop what nobody asked to drop."""
        if self._kept[name].expires_at <= self._now():
            self._losses.add(evicted_expired=1)
        else:
            self._losses.add(evicted_budget=1)
        self._drop(name)

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
