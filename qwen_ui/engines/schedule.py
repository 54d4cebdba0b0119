"""Who comes next: answers first, then what is prepared, then audits; in each kind the visitors in
turn. Only the rule: no threads, no clocks."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

from qwen_ui.engines.base import Priority

T = TypeVar("T")


class Rotation(Generic[T]):
    """Items of visitors who take turns; those of one visitor keep their order.

    Turns come in rounds. A visitor has one item in each, from the present round on, or from the
    next if this round has served him. A newcomer is therefore in the present round, however many
    items another visitor has queued. Each item of the visitor "" counts as another visitor's.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[T, str]] = []  # as they came
        self._round = 0
        self._next: dict[str, int] = {}  # of those served in this round: their next one

    def __len__(self) -> int:
        return len(self._waiting)

    def count(self, visitor: str) -> int:
        """How many items of his wait."""
        return sum(whose == visitor for _, whose in self._waiting)

    def add(self, item: T, visitor: str) -> None:
        self._waiting.append((item, visitor))

    def order(self) -> list[T]:
        """What would be taken one after another if nothing came or left."""
        rounds = self._rounds()
        places = sorted(range(len(rounds)), key=rounds.__getitem__)
        return [self._waiting[place][0] for place in places]

    def take(self) -> T:
        """The next one. Raises ValueError when there is none."""
        rounds = self._rounds()
        self._round = min(rounds)
        item, visitor = self._waiting.pop(rounds.index(self._round))
        self._next = {whose: turn for whose, turn in self._next.items() if turn > self._round}
        if visitor:
            self._next[visitor] = self._round + 1
        return item

    def put_back(self, item: T, visitor: str) -> None:
        """Undo the last `take`: the item comes next again, and its visitor was not served."""
        self._waiting.insert(0, (item, visitor))
        self._next.pop(visitor, None)

    def remove(self, item: T) -> bool:
        """Whether it was here."""
        for place, (waiting, _) in enumerate(self._waiting):
            if waiting is item:
                del self._waiting[place]
                return True
        return False

    def _rounds(self) -> list[int]:
        """The round of each item that waits."""
        before: Counter[str] = Counter()
        rounds = []
        for _, visitor in self._waiting:
            rounds.append(self._next.get(visitor, self._round) + before[visitor])
            if visitor:
                before[visitor] += 1
        return rounds


class Schedule(Generic[T]):
    """One rotation for each priority; a later one is looked at when those before are empty."""

    def __init__(self) -> None:
        self._rotations: dict[Priority, Rotation[T]] = {kind: Rotation() for kind in Priority}

    def __len__(self) -> int:
        return sum(len(rotation) for rotation in self._rotations.values())

    def of(self, priority: Priority) -> Rotation[T]:
        return self._rotations[priority]

    def take(self) -> T | None:
        """The next item; None when there is none."""
        for rotation in self._rotations.values():
            if len(rotation):
                return rotation.take()
        return None
