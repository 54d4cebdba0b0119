"""A store that breaks and heals on command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from cache_store.errors import StoreUnavailable
from cache_store.stores.base import Stored
from cache_store.stores.memory import MemoryStore

T = TypeVar("T")


class BreakableStore:
    """A memory store; while `broken`, everything raises `error`. Counts what it was asked."""

    def __init__(self) -> None:
        self.broken = False
        self.error: Exception = StoreUnavailable("unplugged")
        self.calls = 0
        self._inner = MemoryStore(2**20)

    def get(self, name: str) -> Stored | None:
        return self._try(lambda: self._inner.get(name))

    def peek(self, name: str) -> Stored | None:
        return self._try(lambda: self._inner.peek(name))

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        return self._try(lambda: self._inner.put(name, stored, generation))

    def delete(self, name: str) -> None:
        self._try(lambda: self._inner.delete(name))

    def forget(self, tag: str) -> int:
        return self._try(lambda: self._inner.forget(tag))

    def names(self, tag: str | None = None) -> Iterator[str]:
        return self._try(lambda: self._inner.names(tag))

    def clear(self) -> int:
        return self._try(self._inner.clear)

    def lost(self) -> Mapping[str, int]:
        return self._inner.lost()

    def generation(self) -> int:
        return self._try(self._inner.generation)

    def replaced(self) -> object:
        return self._inner.replaced()

    def touch(self, names: Iterable[str]) -> None:
        self._try(lambda: self._inner.touch(names))

    def sweep(self) -> None:
        self._try(self._inner.sweep)

    def size(self) -> tuple[int, int]:
        return self._try(self._inner.size)

    def close(self) -> None:
        self._try(lambda: None)

    def _try(self, call: Callable[[], T]) -> T:
        self.calls += 1
        if self.broken:
            raise self.error
        return call()
