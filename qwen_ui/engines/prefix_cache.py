"""Prefilled beginnings of prompts: a tree whose paths are prompts and whose edges are steps.

A step is what stands between two places where a prompt may be left (`ChunkRule`), with each picture
as its key and never as its ids, so two pictures of one size cannot be taken for one another. Steps
are compared whole; a hash alone decides nothing. Each node keeps the keys and values of its own
step only, so prompts that begin alike share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from qwen_ui.engines.greedy_dual import GreedyDual
from qwen_ui.engines.prompt import Step


class Kept(Protocol):
    """What a node keeps: tensors somewhere."""

    @property
    def nbytes(self) -> int: ...

    @property
    def on_host(self) -> bool: ...

    def to_host(self) -> Self: ...


K = TypeVar("K", bound=Kept)


@dataclass(eq=False, slots=True)
class _Node(Generic[K]):
    parent: _Node[K] | None = None
    step: tuple[str, Step] = ("", ())
    kept: K | None = None  # None: the root
    cost_s: float = 0.0
    rank: float = 0.0
    children: dict[tuple[str, Step], _Node[K]] = field(default_factory=dict)


class PrefixCache(Generic[K]):
    """For the engine's thread alone. `scope`: who may profit, as for features.

    Beyond `device_max_bytes` the least valuable nodes move to host memory, and beyond
    `host_max_bytes` they go. A node never goes before those that build on it: its rank is at least
    theirs.
    """

    def __init__(self, host_max_bytes: int, device_max_bytes: int = 0) -> None:
        self._host_max_bytes = host_max_bytes
        self._device_max_bytes = device_max_bytes
        self._root: _Node[K] = _Node()
        self._order = GreedyDual()
        self._nodes: dict[_Node[K], None] = {}  # the last one was used last
        self.host_bytes = 0
        self.device_bytes = 0

    def longest(self, scope: str, steps: Sequence[Step]) -> list[K]:
        """What is kept of the longest known beginning, one after another; each counts as used."""
        path = list(self._path(scope, steps))
        for node in reversed(path):
            self._use(node)
        return [node.kept for node in path if node.kept is not None]

    def add(self, scope: str, steps: Sequence[Step], kept: K, cost_s: float) -> None:
        """Keep the last step, which took `cost_s`, unless it is kept already or those before it
        have gone meanwhile."""
        path = list(self._path(scope, steps))
        if len(path) != len(steps) - 1 or kept.nbytes > self._host_max_bytes:
            return
        parent = path[-1] if path else self._root
        node = _Node(parent, (scope, steps[-1]), kept, cost_s)
        parent.children[node.step] = node
        self._count(kept, 1)
        for used in (node, *reversed(path)):
            self._use(used)
        self._make_room()

    def _path(self, scope: str, steps: Sequence[Step]) -> Iterator[_Node[K]]:
        node = self._root
        for step in steps:
            found = node.children.get((scope, step))
            if found is None:
                return
            yield found
            node = found

    def _use(self, node: _Node[K]) -> None:
        """Rank a node anew, after those below it."""
        assert node.kept is not None
        own = self._order.rank(node.cost_s, node.kept.nbytes)
        node.rank = max(own, *(child.rank for child in node.children.values()), 0.0)
        self._nodes.pop(node, None)
        self._nodes[node] = None

    def _make_room(self) -> None:
        while self.device_bytes > self._device_max_bytes and self._move_one():
            pass
        while self.host_bytes > self._host_max_bytes:
            self._drop(self._lowest(list(self._nodes)))

    def _move_one(self) -> bool:
        """Move the least valuable node to host memory; False where none is on a device."""
        there = [node for node in self._nodes if node.kept and not node.kept.on_host]
        if not there:
            return False
        node = self._lowest(there)
        assert node.kept is not None
        self._count(node.kept, -1)
        node.kept = node.kept.to_host()
        self._count(node.kept, 1)
        return True

    def _lowest(self, nodes: Sequence[_Node[K]]) -> _Node[K]:
        return min(nodes, key=lambda node: (node.rank, bool(node.children)))

    def _drop(self, node: _Node[K]) -> None:
        assert node.parent is not None
        assert node.kept is not None
        assert not node.children
        del node.parent.children[node.step]
        del self._nodes[node]
        self._count(node.kept, -1)
        self._order.evicted(node.rank)

    def _count(self, kept: K, sign: int) -> None:
        if kept.on_host:
            self.host_bytes += sign * kept.nbytes
        else:
            self.device_bytes += sign * kept.nbytes
