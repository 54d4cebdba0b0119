"""SimHash signatures: which questions of a scope are written nearly alike.

It only proposes. Distance says nothing about meaning: `1.5` and `15` have distance 0.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from simhash import Simhash

_NEAR = 24  # bits of 64: most re-wordings lie within, chance is 32
_CANDIDATES = 16
_MOST = 10_000  # questions of one scope; the oldest gives way

_WORD = re.compile(r"[一-鿿]|\w+")


@lru_cache(maxsize=4096)
def signature(question: str) -> int:
    """SimHash, 64 bits, over words and pairs of characters."""
    text = unicodedata.normalize("NFKC", question).casefold()
    words = _WORD.findall(text)
    run = "".join(words)
    pairs = [f"#{run[at : at + 2]}" for at in range(max(1, len(run) - 1))]
    return int(Simhash(words + pairs, f=64).value)


class Known(NamedTuple):
    """A question, the entry that answers it, and that entry's times."""

    name: str
    question: str
    created_at: float
    expires_at: float


_NOBODY = Known("", "", 0.0, 0.0)


class Scope:
    """The questions of a scope, and their signatures in one array. Not thread-safe."""

    def __init__(self) -> None:
        self.read_at = -float("inf")  # when the store was last asked, monotonic
        self._known: list[Known] = []
        self._places: dict[str, int] = {}
        self._signatures = np.zeros(8, np.uint64)
        self._oldest = 0  # the place that is overwritten next, once the scope is full

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, known: Known, signature: int) -> None:
        place = self._places.get(known.name)
        if place is None:
            place = self._room()
        else:
            del self._places[self._known[place].name]
        self._known[place] = known
        self._places[known.name] = place
        self._signatures[place] = signature

    def nearest(self, signature: int) -> list[Known]:
        """The candidates, nearest first, the newest first among equals."""
        count = len(self._known)
        bits = np.bitwise_count(self._signatures[:count] ^ np.uint64(signature))
        places = np.flatnonzero(bits <= _NEAR)
        if len(places) > _CANDIDATES:
            places = places[np.argpartition(bits[places], _CANDIDATES)[:_CANDIDATES]]
        found = [(int(bits[place]), self._known[place]) for place in places]
        found.sort(key=lambda pair: (pair[0], -pair[1].created_at))
        return [known for _, known in found]

    def _room(self) -> int:
        """A place for one more; the oldest gives way in a full scope."""
        count = len(self._known)
        if count < _MOST:
            self._known.append(_NOBODY)
            if count == len(self._signatures):
                self._signatures = np.resize(self._signatures, 2 * count)
            return count
        place = self._oldest
        self._oldest = (place + 1) % _MOST
        del self._places[self._known[place].name]
        return place
