"""L1: the contract, and least recently used out first."""

from __future__ import annotations

from pathlib import Path

from cache_store.stores.base import Store, Stored
from cache_store.stores.memory import MemoryStore
from tests.cache_store.stores.contract import StoreContract

END = 1e12


class TestMemoryStore(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return MemoryStore(2**24)


def test_the_least_recently_used_goes_first() -> None:
    store = MemoryStore(30)
    for name in "abc":
        store.put(name, Stored(b"x" * 10, END))
    assert store.get("a")
    store.put("d", Stored(b"x" * 10, END))
    assert [name for name in "abcd" if store.get(name)] == ["a", "c", "d"]


def test_to_be_looked_at_is_no_use() -> None:
    store = MemoryStore(20)
    for name in "ab":
        store.put(name, Stored(b"x" * 10, END))
    assert store.peek("a")
    store.put("c", Stored(b"x" * 10, END))
    assert [name for name in "abc" if store.peek(name)] == ["b", "c"]


def test_the_budget_is_bytes_and_never_exceeded() -> None:
    store = MemoryStore(1000)
    for number in range(500):
        store.put(str(number % 37), Stored(b"x" * (number * 7 % 300), END))
        entries, size = store.size()
        assert size <= 1000
        assert size == sum(len(s.value) for s in store._kept.values())
        assert entries == len(store._kept)


def test_a_value_larger_than_the_budget_is_not_kept_and_drops_only_its_own_name() -> None:
    store = MemoryStore(10)
    store.put("a", Stored(b"12345", END))
    store.put("b", Stored(b"1", END))
    store.put("a", Stored(b"x" * 11, END))
    assert store.get("a") is None
    assert store.get("b") is not None
    assert store.size() == (1, 1)


def test_an_ended_value_frees_its_bytes() -> None:
    now = [0.0]
    store = MemoryStore(100, lambda: now[0])
    store.put("a", Stored(b"x" * 60, 10.0))
    now[0] = 9.999
    assert store.get("a") is not None
    now[0] = 10.0
    assert store.get("a") is None
    assert store.size() == (0, 0)
