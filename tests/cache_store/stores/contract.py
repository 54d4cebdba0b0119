"""What every store must do. A new store joins with a subclass that names how it is opened:

class TestRedisStore(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return RedisStore(...)
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache_store.stores.base import Store, Stored, name_tag

ODD_NAMES = ["", " ", "a:b:c", "a\nb", "a\0b", "%", "'; DROP TABLE Cache; --", "猫", "x" * 10_000]
ODD_VALUES = [
    b"",
    b"\0",
    b"\r\n" * 30_000,  # diskcache changes such texts
    b"x" * 32_767,  # on either side of where diskcache begins a file of its own
    b"x" * 32_768,
    bytes(range(256)) * 5000,
    b"\x80\x04\x95",  # begins like a pickle
]


ODD_TAGS = ["", "a:b", "%", "it's", "猫", "a\nb", "a\0b", "x" * 5000]


def lasting(value: bytes, seconds: float = 100.0, *tags: str, cost_s: float = 0.0) -> Stored:
    return Stored(value, time.time() + seconds, tags, cost_s)


class StoreContract(ABC):
    """Tests that run against each store."""

    @abstractmethod
    def open(self, tmp_path: Path) -> Store: ...

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.open(tmp_path)
        yield store
        store.close()

    def test_what_was_put_is_got_with_its_end(self, store: Store) -> None:
        kept = lasting(b"value")
        store.put("name", kept)
        found = store.get("name")
        assert found is not None
        assert found.value == b"value"
        assert found.expires_at == pytest.approx(kept.expires_at, abs=0.05)

    def test_a_look_finds_what_a_reading_finds(self, store: Store) -> None:
        store.put("name", lasting(b"value", 100, "tag"))
        store.put("short", lasting(b"value", 0.2))
        assert store.peek("name") == store.get("name") is not None
        assert store.peek("absent") is None
        time.sleep(0.25)
        assert store.peek("short") is None

    def test_an_absent_name_is_none(self, store: Store) -> None:
        assert store.get("name") is None
        store.delete("name")

    @pytest.mark.parametrize("value", ODD_VALUES, ids=range(len(ODD_VALUES)))
    def test_any_bytes_come_back_as_they_were(self, store: Store, value: bytes) -> None:
        store.put("name", lasting(value))
        found = store.get("name")
        assert found is not None
        assert found.value == value
        assert type(found.value) is bytes

    def test_any_name_is_a_name_of_its_own(self, store: Store) -> None:
        for number, name in enumerate(ODD_NAMES):
            store.put(name, lasting(b"%d" % number))
        for number, name in enumerate(ODD_NAMES):
            found = store.get(name)
            assert found is not None
            assert found.value == b"%d" % number

    def test_names_are_told_apart_by_case_and_by_spaces(self, store: Store) -> None:
        store.put("Name", lasting(b"1"))
        assert store.get("name") is None
        assert store.get("Name ") is None

    def test_a_later_value_replaces_the_earlier_one(self, store: Store) -> None:
        store.put("name", lasting(b"x" * 40_000))
        store.put("name", lasting(b"new"))
        found = store.get("name")
        assert found is not None
        assert found.value == b"new"
        assert store.size()[0] == 1

    def test_a_deleted_value_is_gone_and_the_others_stay(self, store: Store) -> None:
        store.put("a", lasting(b"1"))
        store.put("b", lasting(b"2"))
        store.delete("a")
        assert store.get("a") is None
        assert store.get("b") is not None

    def test_clear_leaves_nothing(self, store: Store) -> None:
        for number in range(20):
            store.put(str(number), lasting(b"x" * 40_000 if number % 2 else b"x", 100, "tag"))
        assert store.clear() == 20
        assert store.clear() == 0
        assert store.size()[0] == 0
        assert all(store.get(str(number)) is None for number in range(20))

    def test_size_counts_entries_and_at_least_their_bytes(self, store: Store) -> None:
        empty = store.size()
        store.put("a", lasting(b"x" * 50_000))
        store.put("b", lasting(b"x" * 50_000))
        entries, size = store.size()
        assert (empty[0], entries) == (0, 2)
        assert size >= 100_000

    def test_a_value_ends_at_its_time_and_reading_does_not_prolong_it(self, store: Store) -> None:
        ends = time.time() + 0.5
        store.put("name", lasting(b"value", 0.5))
        while time.time() < ends - 0.1:
            assert store.get("name") is not None or time.time() >= ends  # on a busy machine
            time.sleep(0.02)
        time.sleep(0.2)
        assert store.get("name") is None

    def test_a_value_that_has_ended_is_not_kept(self, store: Store) -> None:
        store.put("name", lasting(b"value", -1))
        assert store.get("name") is None

    def test_an_ended_value_does_not_bring_back_the_one_before(self, store: Store) -> None:
        store.put("name", lasting(b"old", 100))
        store.put("name", lasting(b"new", -1))
        assert store.get("name") is None

    def test_tags_and_cost_come_back(self, store: Store) -> None:
        store.put("name", lasting(b"value", 100, "a", "b", cost_s=2.5))
        found = store.get("name")
        assert found is not None
        assert sorted(found.tags) == ["a", "b"]
        assert found.cost_s == 2.5
        store.put("plain", lasting(b"value"))
        found = store.get("plain")
        assert found is not None
        assert (found.tags, found.cost_s) == ((), 0.0)

    def test_a_forgotten_tag_takes_its_values_and_no_others(self, store: Store) -> None:
        store.put("both", lasting(b"1", 100, "cat", "dog"))
        store.put("cat", lasting(b"x" * 40_000, 100, "cat"))
        store.put("dog", lasting(b"3", 100, "dog"))
        store.put("none", lasting(b"4"))
        assert store.forget("cat") == 2
        assert store.get("both") is None
        assert store.get("cat") is None
        assert store.get("dog") is not None
        assert store.get("none") is not None
        assert sorted(store.names()) == ["dog", "none"]
        assert store.forget("cat") == 0
        assert store.forget("dog") == 1

    def test_names_are_those_of_the_tag_or_all(self, store: Store) -> None:
        for number in range(1200):
            store.put(f"n{number}", lasting(b"x", 100, f"third{number % 3}", "every"))
        assert set(store.names()) == {f"n{n}" for n in range(1200)}
        assert len(list(store.names())) == 1200
        assert set(store.names("third1")) == {f"n{n}" for n in range(1, 1200, 3)}
        assert len(list(store.names("every"))) == 1200
        assert list(store.names("absent")) == []

    def test_any_tag_is_a_tag_of_its_own(self, store: Store) -> None:
        for number, tag in enumerate(ODD_TAGS):
            store.put(str(number), lasting(b"x", 100, tag))
        for number, tag in enumerate(ODD_TAGS):
            assert list(store.names(tag)) == [str(number)]
        assert store.forget("%") == 1
        assert len(list(store.names())) == len(ODD_TAGS) - 1

    def test_a_replaced_value_has_its_new_tags_only(self, store: Store) -> None:
        store.put("name", lasting(b"1", 100, "old", "kept"))
        store.put("name", lasting(b"2", 100, "kept", "new"))
        assert list(store.names("old")) == []
        assert list(store.names("kept")) == list(store.names("new")) == ["name"]
        assert store.forget("old") == 0
        assert store.get("name") is not None

    def test_deleted_cleared_and_ended_values_have_no_names(self, store: Store) -> None:
        store.put("deleted", lasting(b"1", 100, "tag"))
        store.put("ended", lasting(b"1", 0.1, "tag"))
        store.put("kept", lasting(b"1", 100, "tag"))
        store.delete("deleted")
        time.sleep(0.15)
        assert list(store.names("tag")) == list(store.names()) == ["kept"]
        store.clear()
        assert list(store.names("tag")) == list(store.names()) == []
        assert store.forget("tag") == 0

    def test_a_name_is_a_tag_of_its_one_value(self, store: Store) -> None:
        store.put("a", lasting(b"1", 100, "tag"))
        store.put("b", lasting(b"2", 100, "name:x"))
        assert list(store.names(name_tag("a"))) == ["a"]
        assert store.forget(name_tag("a")) == 1
        assert store.forget(name_tag("a")) == 0
        assert list(store.names()) == ["b"]

    def test_forgetting_changes_the_generation_and_nothing_else_does(self, store: Store) -> None:
        first = store.generation()
        store.put("a", lasting(b"1", 100, "tag"))
        store.put("b", lasting(b"2"))
        store.delete("b")
        store.touch(["a", "absent"])
        store.sweep()
        assert store.generation() == first
        seen = {first}
        ways: list[Callable[[], int]] = [
            lambda: store.forget("absent"),
            lambda: store.forget("tag"),
            lambda: store.forget(name_tag("b")),
            store.clear,
        ]
        for forget in ways:
            forget()
            assert store.generation() not in seen
            seen.add(store.generation())

    def test_a_put_of_an_earlier_generation_is_refused(self, store: Store) -> None:
        before = store.generation()
        assert store.put("a", lasting(b"1"), before)
        store.forget("anything")
        assert not store.put("a", lasting(b"2"), before)
        assert not store.put("b", lasting(b"2"), before)
        assert store.get("b") is None
        found = store.get("a")
        assert found is not None
        assert found.value == b"1"
        assert store.put("b", lasting(b"3"), store.generation())
        assert store.put("c", lasting(b"3"))
        assert sorted(store.names()) == ["a", "b", "c"]

    def test_a_value_in_the_place_of_another_is_told_of_and_no_other(self, store: Store) -> None:
        def replaced() -> object:
            time.sleep(0.6)  # as old as a generation may be
            store.generation()
            return store.replaced()

        before = replaced()
        store.put("a", lasting(b"1", 0.1))
        store.put("b", lasting(b"1"))
        store.sweep()
        store.delete("a")
        store.put("a", lasting(b"2"))
        assert replaced() == before
        store.put("b", lasting(b"2"))
        assert replaced() != before

    def test_what_was_asked_for_is_no_loss(self, store: Store) -> None:
        for name in "abcd":
            store.put(name, lasting(b"x", 100, "tag"))
        store.put("a", lasting(b"y", 100, "tag"))
        store.delete("a")
        store.forget(name_tag("b"))
        store.forget("tag")
        store.clear()
        store.sweep()
        assert not any(store.lost().values())

    def test_many_values_of_a_tag_are_forgotten_ended_ones_too(self, store: Store) -> None:
        for number in range(1300):
            store.put(f"n{number}", lasting(b"x", 0.2 if number < 10 else 100, "tag"))
        store.put("other", lasting(b"x"))
        time.sleep(0.25)
        assert 1290 <= store.forget("tag") <= 1300
        assert list(store.names()) == ["other"]
        assert store.forget("tag") == 0

    def test_a_sweep_leaves_what_has_not_ended(self, store: Store) -> None:
        store.put("ended", lasting(b"x" * 40_000, 0.1, "tag"))
        store.put("kept", lasting(b"x", 100, "tag"))
        time.sleep(0.15)
        store.sweep()
        assert store.size()[0] == 1
        assert list(store.names()) == ["kept"]

    def test_many_threads_never_see_another_names_value(
        self, store: Store, repetitions: Callable[[int], int]
    ) -> None:
        wrong: list[object] = []
        rounds = repetitions(300)

        def work(number: int) -> None:
            for turn in range(rounds):
                name = str((number + turn) % 5)
                store.put(name, lasting(name.encode() * 100))
                found = store.get(name)
                if found is None or found.value != name.encode() * 100:
                    wrong.append((name, found))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert wrong == []

    def test_a_value_is_visible_to_another_thread_once_put_returns(self, store: Store) -> None:
        seen: list[Stored | None] = []
        for number in range(20):
            store.put("name", lasting(b"%d" % number))
            reader = threading.Thread(target=lambda: seen.append(store.get("name")))
            reader.start()
            reader.join()
        assert [found and found.value for found in seen] == [b"%d" % n for n in range(20)]
