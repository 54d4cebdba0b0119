"""What every store is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """A value and the absolute time (seconds since the epoch) at which it ends.

    `tags` say what it belongs to (`image:...`, `model:...`, `scope:...`); `cost_s` is how many
    seconds it saves, so that eviction can keep what saves most seconds per byte.
    """

    value: bytes
    expires_at: float
    tags: tuple[str, ...] = ()
    cost_s: float = 0.0


class Store(Protocol):
    """Bytes under names, each until an absolute time. Thread-safe.

    Methods raise errors.StoreUnavailable (and `get` errors.CorruptEntry), nothing else.
    """

    def get(self, name: str) -> Stored | None:
        """What is kept under the name, or None when it is absent or expired."""
        ...

    def put(self, name: str, stored: Stored) -> None:
        """Keep a value; visible to every `get` that starts after this returns."""
        ...

    def delete(self, name: str) -> None:
        """Forget one value; absent is fine."""
        ...

    def forget(self, tag: str) -> int:
        """Forget every value with the tag; how many there were."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def names(self, tag: str | None = None) -> Iterator[str]:
        """Names of values that have not expired: all, or those with the tag; in no order.

        What is put or deleted meanwhile may or may not be among them.
        """
        ...

    def size(self) -> tuple[int, int]:
        """(entries, bytes), expired ones perhaps included."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
