"""Two tiers as one: memory first, then the shared one; a broken tier is skipped and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores.base import Store, Stored
from cache_store.types import Tier

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class TieredStore:
    """Reads L1, then L2 (and promotes with the entry's own end); writes through to both.

    Nothing here raises: a tier that fails is left out of that call, `faults` counts it, and the
    first failure in a row is logged.
    """

    def __init__(self, l1: Store, l2: Store | None) -> None:
        self._l1 = l1
        self._tiers = {Tier.L1: l1} | ({Tier.L2: l2} if l2 is not None else {})
        self._failing: set[Tier] = set()
        self.faults = 0

    def locate(self, name: str) -> tuple[bytes, Tier] | None:
        """The value and where it was found."""
        for tier, store in self._tiers.items():
            stored = self._try(tier, self._read, store, name)
            if stored is not None:
                if store is not self._l1:
                    self._try(Tier.L1, self._l1.put, name, stored)
                return stored.value, tier
        return None

    def put(self, name: str, stored: Stored) -> bool:
        """Write to every tier. True when at least one took it."""
        took = [self._try(t, self._write, s, name, stored) for t, s in self._tiers.items()]
        return any(took)

    def delete(self, name: str) -> None:
        for tier, store in self._tiers.items():
            self._try(tier, store.delete, name)

    def forget(self, tag: str) -> int:
        """Forget every value with the tag in every tier; how many the largest tier had."""
        return max(self._try(t, s.forget, tag) or 0 for t, s in self._tiers.items())

    def clear(self) -> None:
        for tier, store in self._tiers.items():
            self._try(tier, store.clear)

    def names(self, tag: str | None = None) -> Iterator[str]:
        """Names in the last tier that answers; without a second tier, in memory."""
        for tier in reversed(self._tiers):
            names = self._try(tier, lambda store: list(store.names(tag)), self._tiers[tier])
            if names is not None:
                return iter(names)
        return iter(())

    def read(self, name: str) -> Stored | None:
        """A value with its tags, wherever it is; not promoted. For housekeeping."""
        found = (self._try(t, self._read, s, name) for t, s in self._tiers.items())
        return next((stored for stored in found if stored is not None), None)

    def size(self, tier: Tier) -> tuple[int, int]:
        """(entries, bytes) of one tier; zeros when it is not there or fails."""
        store = self._tiers.get(tier)
        return (self._try(tier, store.size) if store else None) or (0, 0)

    def close(self) -> None:
        for tier, store in self._tiers.items():
            self._try(tier, store.close)

    def _read(self, store: Store, name: str) -> Stored | None:
        try:
            return store.get(name)
        except CorruptEntry as error:
            log.warning("%s: %s", name, error)
            self.faults += 1
            store.delete(name)
            return None

    def _write(self, store: Store, name: str, stored: Stored) -> bool:
        store.put(name, stored)
        return True

    def _try(self, tier: Tier, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            result = call(*args, **kwargs)
        except StoreUnavailable as error:
            self.faults += 1
            if tier not in self._failing:
                log.warning("%s is skipped: %s", tier, error)
                self._failing.add(tier)
            return None
        self._failing.discard(tier)
        return result
