"""What a store loses by itself is told once, under the reason for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cache_store.errors import StoreUnavailable
from cache_store.stores import rows
from cache_store.stores.base import Stored
from cache_store.stores.disk import DiskStore
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from tests.cache_store.stores.contract import lasting


def test_memory_tells_what_ended_from_what_had_no_room() -> None:
    now = [0.0]
    store = MemoryStore(100, lambda: now[0])
    for name, ends in (("read", 1), ("swept", 1), ("pushed", 1), ("budget", 9)):
        store.put(name, lasting(b"x" * 25)._replace(expires_at=ends))
    now[0] = 2
    assert store.get("read") is None
    store.put("new", lasting(b"x" * 75)._replace(expires_at=9))
    assert store.lost() == {"evicted_expired": 3}
    store.put("newer", lasting(b"x" * 50)._replace(expires_at=5))
    assert store.lost() == {"evicted_budget": 2}
    now[0] = 6
    store.sweep()
    assert store.lost() == {"evicted_expired": 1}
    assert store.lost() == {}


def test_disk_tells_what_ended_from_what_had_no_room(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 2**20)
    for number in range(700):
        store.put(f"short{number}", lasting(b"x", 0.3))
    time.sleep(0.35)
    store.sweep()
    assert store.lost() == {"evicted_expired": 700}
    for number in range(100):
        store.put(str(number), lasting(os.urandom(30_000)))
    store.sweep()
    lost = dict(store.lost())
    assert lost == {"evicted_budget": 100 - store.size()[0]}
    assert lost["evicted_budget"] > 60
    assert not store.lost()
    store.close()


def test_an_eviction_that_was_rolled_back_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(tmp_path, 2**20)
    for number in range(30):
        store.put(str(number), lasting(os.urandom(30_000)))
    store.lost()

    def fail(*_: object) -> int:
        raise OSError("broken")

    with monkeypatch.context() as failing:
        failing.setattr(rows, "delete", fail)
        store._rows._unchecked = 2**20  # so that this write looks at the budget
        store._max_bytes = store._rows._max_bytes = 2**19
        with pytest.raises(StoreUnavailable, match="broken"):
            store.put("new", lasting(os.urandom(30_000)))
    assert not store.lost()
    store.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_value_larger_than_the_budget_is_not_called_kept(tmp_path: Path, kind: str) -> None:
    store = MemoryStore(2**20) if kind == "memory" else DiskStore(tmp_path, 2**20)
    assert not store.put("name", lasting(bytes(2**20 + 1)))
    assert store.get("name") is None
    assert store.size()[0] == 0
    store.close()


class Refusing(MemoryStore):
    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        if name == "refused":
            raise StoreUnavailable("no")
        return super().put(name, stored, generation)


def test_what_the_inner_store_does_not_take_is_a_dropped_write() -> None:
    store = WriteBehind(Refusing(100))
    for name, size in (("kept", 1), ("large", 101), ("refused", 1), ("later", 1)):
        store.put(name, lasting(bytes(size)))
    assert store.flush(10)
    assert store.lost() == {"dropped_writes": 2}
    assert not store.lost()
    assert sorted(store.names()) == ["kept", "later"]
    store.close()


def test_of_two_tiers_the_last_one_loses() -> None:
    l1, l2 = MemoryStore(30), MemoryStore(60)
    both = TieredStore(l1, l2)
    for number in range(5):
        both.put(str(number), lasting(b"x" * 20))
    assert both.lost() == {"evicted_budget": 2}
    assert not both.lost()
    alone = TieredStore(MemoryStore(30), None)
    for number in range(5):
        alone.put(str(number), lasting(b"x" * 20))
    assert alone.lost() == {"evicted_budget": 4}
