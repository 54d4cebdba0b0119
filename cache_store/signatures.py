"""Which questions of a scope are nearly alike: in writing by SimHash, in meaning by an encoder.

Both only propose. Distance says nothing about meaning: `1.5` and `15` have distance 0.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from simhash import Simhash

from cache_store.encoder import DIMENSIONS, Vector

_NEAR = 24  # bits of 64: most re-wordings lie within, chance is 32
_CANDIDATES = 16  # of each
_ALIKE = 0.5  # cosine; unrelated English questions have .1, Chinese ones .5
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
    """The questions of a scope, and their signatures in one array; their vectors in another,
    where there is an encoder. Not thread-safe.
    """

    def __init__(self) -> None:
        self.read_at = -float("inf")  # when the store was last asked, monotonic
        self._known: list[Known] = []
        self._places: dict[str, int] = {}
        self._signatures = np.zeros(8, np.uint64)
        self._vectors: NDArray[np.float32] | None = None
        self._oldest = 0  # the place that is overwritten next, once the scope is full

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def add(self, known: Known, signature: int, vector: Vector | None = None) -> None:
        place = self._places.get(known.name)
        if place is None:
            place = self._room()
        else:
            del self._places[self._known[place].name]
        self._known[place] = known
        self._places[known.name] = place
        self._signatures[place] = signature
        if vector is not None:
            self._room_for_vectors()[place] = vector

    def nearest(self, signature: int, vector: Vector | None = None) -> list[Known]:
        """The candidates, nearest first, the newest first among equals. With a vector: those of
        SimHash and those of like meaning, in the order of their meaning.
        """
        written = self._alike_in_writing(signature)
        if vector is None or self._vectors is None:
            return [self._known[place] for place in written]
        likeness = self._vectors[: len(self._known)] @ vector
        meant = np.argpartition(-likeness, min(_CANDIDATES, len(likeness)) - 1)[:_CANDIDATES]
        places = {*written, *(int(place) for place in meant if likeness[place] >= _ALIKE)}
        order = sorted(places, key=lambda at: (-likeness[at], -self._known[at].created_at))
        return [self._known[place] for place in order]

    def _alike_in_writing(self, signature: int) -> list[int]:
        count = len(self._known)
        bits = np.bitwise_count(self._signatures[:count] ^ np.uint64(signature))
        places = np.flatnonzero(bits <= _NEAR)
        if len(places) > _CANDIDATES:
            places = places[np.argpartition(bits[places], _CANDIDATES)[:_CANDIDATES]]
        by_bits = [int(place) for place in places]
        return sorted(by_bits, key=lambda at: (int(bits[at]), -self._known[at].created_at))

    def _room_for_vectors(self) -> NDArray[np.float32]:
        if self._vectors is None:
            self._vectors = np.zeros((len(self._signatures), DIMENSIONS), np.float32)
        elif len(self._vectors) < len(self._signatures):
            more = len(self._signatures) - len(self._vectors)
            self._vectors = np.pad(self._vectors, ((0, more), (0, 0)))
        return self._vectors

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
