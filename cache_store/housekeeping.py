"""What an operator asks about all entries of a store. Each walks through them; none is quick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from cache_store import codec
from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.keys import VERSION, encode
from cache_store.stores.base import name_tag
from cache_store.stores.tiered import TieredStore
from cache_store.tags import model_tag
from cache_store.types import CacheEntry


@dataclass(frozen=True, slots=True)
class Stale:
    """What an upgrade would do: of `entries`, `stale` would never be found again."""

    stale: int
    entries: int


def forget_older(store: TieredStore, than: float) -> int:
    """Forget what was stored before a time (seconds since the epoch); how many.

    Raises StoreUnavailable after all that can be read was forgotten.
    """
    faults = store.faults
    names = [name for name, entry in _entries(store) if entry.created_at < than]
    count = 0
    for name in names:
        with suppress(StoreUnavailable):  # it is a fault
            count += store.forget(name_tag(name))
    if store.faults > faults:
        raise StoreUnavailable("a store cannot be reached, and may still hold what it had")
    return count


def count_stale(store: TieredStore, model: str, fingerprint: str) -> Stale:
    """How many entries of a model were made under another key version or by another build."""
    version, build = encode([VERSION]), encode(fingerprint)
    materials = [entry.material for _, entry in _entries(store, model_tag(model))]
    fresh = sum(m.startswith(version) and build in m for m in materials)
    return Stale(len(materials) - fresh, len(materials))


def _entries(store: TieredStore, tag: str | None = None) -> Iterator[tuple[str, CacheEntry]]:
    for name in store.names(tag):
        try:
            kept = store.read(name)
            entry = codec.load(kept.value) if kept is not None else None
        except CorruptEntry:
            continue
        if entry is not None:
            yield name, entry
