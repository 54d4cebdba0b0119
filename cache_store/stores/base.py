"""What every store is."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

_NAME = "name:"


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

    Every value carries one tag that is not written down: `name_tag` of its name.

    Forgetting is more than deleting. A store has a *generation*, a random number that `forget` and
    `clear` replace: copies elsewhere (another process's memory) that were made under another
    generation are not to be trusted, and a `put` that names another one comes too late.

    Methods raise errors.StoreUnavailable (`get` and `peek` errors.CorruptEntry too), nothing else.
    """

    def get(self, name: str) -> Stored | None:
        """What is kept under the name, or None when it is absent or expired."""
        ...

    def peek(self, name: str) -> Stored | None:
        """The same, where looking is no use of it that eviction should know of."""
        ...

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        """Keep a value; visible to every `get` that starts after this returns.

        False, and nothing is kept, when the store's generation is not `generation` any more, or
        when the value is larger than the whole budget.
        """
        ...

    def delete(self, name: str) -> None:
        """Drop one value for housekeeping; absent is fine. The generation stays."""
        ...

    def forget(self, tag: str) -> int:
        """Drop every value with the tag, and change the generation; how many there were."""
        ...

    def clear(self) -> int:
        """Drop everything, and change the generation; how many there were."""
        ...

    def generation(self) -> int:
        """See above. May be some tenths of a second old where asking is dear."""
        ...

    def replaced(self) -> object:
        """What differs after a value took the place of one that had not ended: copies elsewhere
        may be of the earlier one. As of the last `generation`; asks for nothing itself."""
        ...

    def names(self, tag: str | None = None) -> Iterator[str]:
        """Names of values that have not expired: all, or those with the tag; in no order.

        What is put or deleted meanwhile may or may not be among them.
        """
        ...

    def touch(self, names: Iterable[str]) -> None:
        """These were used: eviction should know."""
        ...

    def sweep(self) -> None:
        """Remove what has expired or exceeds the budget; called now and then."""
        ...

    def size(self) -> tuple[int, int]:
        """(entries, bytes), expired ones perhaps included."""
        ...

    def lost(self) -> Mapping[str, int]:
        """What was lost since the last call and nobody asked for, by its counter in `stats`:
        `evicted_expired`, `evicted_budget`, `dropped_writes`. Asks no server."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


def name_tag(name: str) -> str:
    """The tag that only the value of this name has."""
    return _NAME + name


def named(tag: str) -> str | None:
    """The name in a `name_tag`; None for every other tag."""
    return tag.removeprefix(_NAME) if tag.startswith(_NAME) else None


def new_generation() -> int:
    """Random and not counted: a store that lost its memory must not come back to an old one."""
    return secrets.randbits(62)
