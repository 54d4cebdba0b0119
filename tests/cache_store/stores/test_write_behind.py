"""Writes behind the request: the contract, and what happens when they cannot keep up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cache_store.errors import StoreUnavailable
from cache_store.stores import write_behind
from cache_store.stores.base import Store, Stored
from cache_store.stores.disk import DiskStore
from cache_store.stores.memory import MemoryStore
from cache_store.stores.write_behind import WriteBehind
from tests.cache_store.stores.contract import StoreContract, lasting


class TestWriteBehind(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return WriteBehind(DiskStore(tmp_path / "answers", 2**26), max_pending=10_000)


class HeldStore(MemoryStore):
    """Takes values only while `free` is set; says when one has arrived."""

    def __init__(self) -> None:
        super().__init__(2**20)
        self.free = threading.Event()
        self.arrived = threading.Event()
        self.cleared = threading.Event()

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        self.arrived.set()
        assert self.free.wait(10)
        return super().put(name, stored, generation)

    def clear(self) -> int:
        count = super().clear()
        self.cleared.set()
        return count


@pytest.fixture
def held() -> Iterator[HeldStore]:
    store = HeldStore()
    yield store
    store.free.set()


def test_a_value_that_replaces_another_hides_its_tags_before_it_is_written(
    held: HeldStore,
) -> None:
    held.free.set()
    store = WriteBehind(held)
    store.put("name", lasting(b"1", 100, "old"))
    assert store.flush(10)
    held.free.clear()
    store.put("name", lasting(b"2", 100, "new"))
    assert list(store.names("old")) == []
    assert list(store.names("new")) == list(store.names()) == ["name"]
    held.free.set()
    store.close()


def test_a_clear_takes_what_is_on_its_way_too(held: HeldStore) -> None:
    store = WriteBehind(held)
    store.put("on its way", lasting(b"x"))
    store.put("waiting", lasting(b"x"))
    assert held.arrived.wait(10)
    clearing = threading.Thread(target=store.clear, daemon=True)
    clearing.start()
    held.cleared.wait(0.2)  # it must not be: a value would land after it
    held.free.set()
    clearing.join(10)
    assert not clearing.is_alive()
    assert store.flush(10)
    assert list(held.names()) == []
    store.close()


def test_close_writes_what_is_pending(tmp_path: Path) -> None:
    store = WriteBehind(DiskStore(tmp_path, 2**26))
    for number in range(500):
        store.put(str(number), lasting(b"x"))
    store.close()
    disk = DiskStore(tmp_path, 2**26)
    assert len(list(disk.names())) == 500
    assert (store.dropped, store.failed) == (0, 0)
    disk.close()


def test_too_many_drop_the_oldest_and_nobody_waits(held: HeldStore) -> None:
    store = WriteBehind(held, max_pending=10)
    began = time.perf_counter()
    for number in range(100):
        store.put(str(number), lasting(b"x"))
    assert time.perf_counter() - began < 1  # the inner store takes none of them yet
    assert store.dropped == 90
    held.free.set()
    assert store.flush(10)
    # the one that was on its way when it was dropped may have arrived
    assert set(held.names()) - {"0"} == {str(number) for number in range(90, 100)}
    store.close()


def test_too_many_bytes_drop_the_oldest(held: HeldStore) -> None:
    store = WriteBehind(held, max_bytes=1000)
    for number in range(10):
        store.put(str(number), lasting(b"x" * 400))
    assert store.dropped == 8
    held.free.set()
    assert store.flush(10)
    assert set(held.names()) - {"0"} == {"8", "9"}
    store.close()


def test_what_the_inner_store_refuses_is_counted_and_breaks_nothing(
    held: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WriteBehind(held)
    with monkeypatch.context() as full:
        full.setattr(held, "put", refuse)
        store.put("lost", lasting(b"x"))
        assert store.flush(10)
        assert store.failed == 1
    held.free.set()
    store.put("kept", lasting(b"y"))
    assert store.flush(10)
    assert list(store.names()) == ["kept"]
    store.close()


def test_a_mistake_of_the_inner_store_is_told_and_the_next_value_is_written(
    held: HeldStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = WriteBehind(held)
    with monkeypatch.context() as wrong:
        wrong.setattr(held, "put", None)  # a TypeError, which no store may raise
        store.put("lost", lasting(b"x"))
        assert store.flush(10)
    assert store.failed == 1
    assert "TypeError" in caplog.text
    held.free.set()
    store.put("kept", lasting(b"y"))
    assert store.flush(10)
    assert list(held.names()) == ["kept"]
    store.close()


@pytest.mark.parametrize("named", [True, False])
def test_what_is_forgotten_while_the_writer_is_stuck_is_never_seen_again(
    held: HeldStore, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(write_behind, "_FORGET_S", 0.05)
    store = WriteBehind(held)
    generation = store.generation() if named else None
    for name in ("on its way", "waiting"):
        store.put(name, lasting(b"x", 100, "tag"), generation)
    assert held.arrived.wait(10)
    assert store.forget("tag") == 2
    assert store.get("on its way") is None
    assert store.get("waiting") is None
    assert list(store.names()) == []
    held.free.set()
    store.put("later", lasting(b"x", 100, "tag"))
    assert store.flush(10)
    assert list(store.names()) == list(held.names()) == ["later"]
    store.close()


def test_what_another_forgot_meanwhile_is_named_no_more(held: HeldStore) -> None:
    store = WriteBehind(held)
    store.put("name", lasting(b"x", 100, "tag"))
    assert held.arrived.wait(10)
    held.forget("tag")  # as another process does
    assert store.get("name") is None
    assert list(store.names()) == list(store.names("tag")) == []
    held.free.set()
    assert store.flush(10)
    assert store.lost() == {"dropped_writes": 1}
    store.close()


def test_what_waits_is_forgotten_even_where_the_inner_store_cannot_be_reached(
    held: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_behind, "_FORGET_S", 0.05)
    monkeypatch.setattr(held, "forget", refuse)
    store = WriteBehind(held)
    store.put("on its way", lasting(b"x"))
    store.put("waiting", lasting(b"x", 100, "tag"))
    assert held.arrived.wait(10)
    with pytest.raises(StoreUnavailable):
        store.forget("tag")
    held.free.set()
    assert store.flush(10)
    assert list(held.names()) == ["on its way"]
    store.close()


class CountingStore(MemoryStore):
    """Remembers which names it was told are used."""

    def __init__(self) -> None:
        super().__init__(2**20)
        self.touched: list[list[str]] = []

    def touch(self, names: Iterable[str]) -> None:
        self.touched.append(list(names))


def test_reads_are_passed_on_in_batches_and_each_name_once() -> None:
    inner = CountingStore()
    store = WriteBehind(inner)
    for name in "abc":
        store.put(name, lasting(b"x"))
    assert store.flush(10)
    for _ in range(100):
        assert all(store.get(name) for name in "abc")
    assert inner.touched == []
    store.close()
    assert inner.touched == [["a", "b", "c"]]


def test_to_be_looked_at_is_passed_on_to_nobody() -> None:
    inner = CountingStore()
    store = WriteBehind(inner)
    store.put("name", lasting(b"x"))
    assert store.peek("name")
    assert store.flush(10)
    assert store.peek("name")
    store.close()
    assert inner.touched == []


def test_the_writer_sweeps_and_passes_on_touches_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, swept = CountingStore(), threading.Event()
    monkeypatch.setattr(inner, "sweep", swept.set)
    monkeypatch.setattr(write_behind, "_SWEEP_EVERY_S", 0.0)
    monkeypatch.setattr(write_behind, "_TOUCH_EVERY_S", 0.0)
    store = WriteBehind(inner)
    store.put("name", lasting(b"x"))
    assert store.flush(10)
    assert store.get("name")
    store.put("other", lasting(b"x"))  # wakes the writer
    assert swept.wait(10)
    store.close()
    assert inner.touched == [["name"]]


def refuse(*_: object) -> NoReturn:
    raise StoreUnavailable("the disk is full")
