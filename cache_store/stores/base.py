"""What every store is."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """A value and the absolute time (seconds since the epoch) at which it ends."""

    value: bytes
    expires_at: float


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

    def clear(self) -> None:
        """Forget everything."""
        ...

    def size(self) -> tuple[int, int]:
        """(entries, bytes), expired ones perhaps included."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...
