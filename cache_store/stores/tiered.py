"""Two tiers as one: memory first, then the shared one; a broken tier is skipped and counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, ParamSpec, TypeVar

from cache_store.errors import StoreUnavailable
from cache_store.stores.base import Store, Stored, new_generation
from cache_store.stores.losses import Losses
from cache_store.stores.owed import Owed
from cache_store.types import Tier

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Standing(NamedTuple):
    """Which generation there is, and whether L2 can be asked now. None: L1 is out, and alone.

    `replaced` is L2's.
    """

    generation: int | None
    reachable: bool
    replaced: object = None


class TieredStore:
    """Reads L1, then L2 (and promotes with the entry's own end); writes through to both.

    Where there is an L2, everything in L1 belongs to one generation of it, and nothing in L2 was
    replaced since. Before L1 is read that is compared, so that what another process forgot or has
    asked anew is not served from here. While L2 cannot be asked, L1 is served as it is, under the
    last generation that was known.

    Only `forget` and `clear` raise (StoreUnavailable, after all tiers were tried): who asks for
    that must know when it was not done. In this process it is done all the same: L1 forgets, work
    that began before is of another generation from then on, and L2 is not read or written before
    it has forgotten too (see `owed`). Everything else leaves a tier that fails out of the call;
    `faults` counts it, and the first failure in a row is logged. Not where `strict`: there
    everything raises StoreUnavailable.
    """

    def __init__(self, l1: Store, l2: Store | None, *, strict: bool = False) -> None:
        self._l1 = l1
        self._l2 = l2
        self._strict = strict
        self._owed = Owed(l2) if l2 is not None else None
        self._tiers = {Tier.L1: l1} | ({Tier.L2: l2} if l2 is not None else {})
        self._failing: set[Tier] = set()
        self._lock = threading.Lock()  # over the generation of L1 and what is put into it
        self._noted = new_generation()  # of L1; nobody else's, until L2 was asked for its own
        self._known: tuple[int, object] = (self._noted, None)  # and what L2 replaced by then
        self._settled = False  # until then nothing was forgotten that L1 could hold
        self._losses = Losses()
        self.faults = 0

    def locate(self, name: str) -> tuple[bytes, Tier] | None:
        """The value and where it was found. Raises CorruptEntry where what is there is no value."""
        return self.locate_in(self.standing(), name)

    def locate_in(self, standing: Standing, name: str) -> tuple[bytes, Tier] | None:
        """The same right after `standing`: several names need it only once."""
        stored = self._try(Tier.L1, self._l1.get, name)
        if stored is not None:
            if self._l2 is not None and standing.reachable:
                self._try(Tier.L2, self._l2.touch, (name,))
            return stored.value, Tier.L1
        if self._l2 is None or not standing.reachable:
            return None
        stored = self._try(Tier.L2, self._l2.get, name)
        if stored is None:
            return None
        with self._lock:
            if (standing.generation, standing.replaced) == self._known:
                self._try(Tier.L1, self._l1.put, name, stored)
        return stored.value, Tier.L2

    def generation(self) -> int | None:
        """What `put` is told by work that begins now."""
        return self.standing().generation

    def standing(self) -> Standing:
        """Notes L2's generation, once L1 holds nothing of another one."""
        if self._l2 is None:
            return Standing(self._try(Tier.L1, self._l1.generation), reachable=False)
        now = None if self._owed else self._try(Tier.L2, self._l2.generation)
        if now is None:
            return Standing(self._noted, reachable=False)
        replaced = self._l2.replaced()
        if (now, replaced) != self._known:
            with self._lock:
                if self._owed:  # since a moment ago
                    return Standing(self._noted, reachable=False)
                if self._settled:
                    self._try(Tier.L1, self._l1.clear)
                self._noted, self._settled, self._known = now, True, (now, replaced)
        return Standing(now, reachable=True, replaced=replaced)

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        """Write to every tier. True when at least one took it.

        False also when anything was forgotten since `generation`.
        """
        if self._l2 is None:
            return self._try(Tier.L1, self._l1.put, name, stored, generation) or False
        reachable = not self._owed
        if generation is None:
            generation, reachable, _ = self.standing()
        took_l2 = None  # L2 is out
        if reachable:
            took_l2 = self._try(Tier.L2, self._l2.put, name, stored, generation)
        if took_l2 is False:  # something was forgotten meanwhile
            return False
        took_l1 = self._put_l1(name, stored, generation)
        if took_l1 and not took_l2:
            self._losses.add(dropped_writes=1)
        return took_l1 or bool(took_l2)

    def delete(self, name: str) -> None:
        for tier, store in self._tiers.items():
            self._try(tier, store.delete, name)

    def forget(self, tag: str) -> int:
        """Forget every value with the tag in every tier; how many the largest tier had."""
        return self._forget(tag, lambda store: store.forget(tag))

    def clear(self) -> int:
        return self._forget(None, lambda store: store.clear())

    def lost(self) -> Mapping[str, int]:
        """Of the last tier, since what memory drops is still there where there is another one; and
        what a second tier that is out did not get."""
        *_, last = [store.lost() for store in self._tiers.values()]
        return Counter(last) + Counter(self._losses.take())

    def names(self, tag: str | None = None, limit: int | None = None) -> Iterator[str]:
        """Names in the last tier that answers; without a second tier, in memory."""

        def some(store: Store) -> list[str]:
            return list(islice(store.names(tag), limit))

        for tier in reversed(self._trusted()):
            names = self._try(tier, some, self._tiers[tier])
            if names is not None:
                return iter(names)
        return iter(())

    def read(self, name: str) -> Stored | None:
        """A value with its tags, wherever it is; not promoted, and not used. For housekeeping.

        Raises CorruptEntry as `locate` does.
        """
        found = (self._try(tier, store.peek, name) for tier, store in self._trusted().items())
        return next((stored for stored in found if stored is not None), None)

    def size(self, tier: Tier) -> tuple[int, int]:
        """(entries, bytes) of one tier; zeros when it is not there or fails."""
        store = self._tiers.get(tier)
        return (self._try(tier, store.size) if store else None) or (0, 0)

    def close(self) -> None:
        if self._owed is not None:
            self._owed.close()
        for tier, store in self._tiers.items():
            self._try(tier, store.close)

    def _forget(self, tag: str | None, forget: Callable[[Store], int]) -> int:
        """L2 first: what is promoted meanwhile is of the generation that ends here."""
        there = self._try(Tier.L2, forget, self._l2) if self._l2 is not None else 0
        if there is None and self._owed is not None:
            with self._lock:
                self._owed.add(tag)
                self._noted, self._settled = new_generation(), True
                self._known = (self._noted, None)
        here = self._try(Tier.L1, forget, self._l1)
        if there is None or here is None:
            raise StoreUnavailable("a store cannot be reached, and may still hold what it had")
        return max(there, here)

    def _trusted(self) -> dict[Tier, Store]:
        return {Tier.L1: self._l1} if self._owed else self._tiers

    def _put_l1(self, name: str, stored: Stored, generation: int | None) -> bool:
        """A value of a generation; not put when L1 has moved on to another one."""
        with self._lock:
            if generation != self._noted:
                return False
            return self._try(Tier.L1, self._l1.put, name, stored) or False

    def _try(self, tier: Tier, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            result = call(*args, **kwargs)
        except StoreUnavailable as error:
            if self._strict:
                raise
            self.faults += 1
            if tier not in self._failing:
                log.warning("%s is skipped: %s", tier, error)
                self._failing.add(tier)
            return None
        if self._failing:
            self._failing.discard(tier)
        return result
