"""Two tiers as one; a broken one is left out."""

from __future__ import annotations

import logging

import pytest

from cache_store.errors import CorruptEntry
from cache_store.stores.base import Stored
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.types import Tier
from tests.cache_store.stores.broken import BreakableStore

END = 4e9
KEPT = Stored(b"value", END)


def test_a_value_goes_to_both_tiers_and_is_found_in_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    l1, l2 = MemoryStore(1000), BreakableStore()
    store = TieredStore(l1, l2)
    assert store.put("name", KEPT)
    assert l1.get("name") == KEPT
    assert l2.get("name") == KEPT
    monkeypatch.setattr(l2, "get", None)
    assert store.locate("name") == (b"value", Tier.L1)


def test_promotion_keeps_the_end() -> None:
    l1, l2 = MemoryStore(1000), BreakableStore()
    store = TieredStore(l1, l2)
    l2.put("name", KEPT)
    assert store.locate("name") == (b"value", Tier.L2)
    assert l1.get("name") == KEPT
    assert store.locate("name") == (b"value", Tier.L1)


def test_reading_does_not_prolong_a_promoted_value() -> None:
    now = [0.0]
    l1, l2 = MemoryStore(1000, lambda: now[0]), MemoryStore(1000, lambda: now[0])
    store = TieredStore(l1, l2)
    l2.put("name", Stored(b"value", 10.0))
    for second in range(10):
        now[0] = float(second)
        assert store.locate("name") is not None
    now[0] = 10.0
    assert store.locate("name") is None


def test_without_a_second_tier_everything_works() -> None:
    store = TieredStore(MemoryStore(1000), None)
    assert store.put("name", KEPT)
    assert store.locate("name") == (b"value", Tier.L1)
    assert store.size(Tier.L2) == (0, 0)
    store.delete("name")
    assert store.locate("name") is None


def test_delete_and_clear_reach_both_tiers() -> None:
    l1, l2 = MemoryStore(1000), MemoryStore(1000)
    store = TieredStore(l1, l2)
    store.put("name", KEPT)
    store.delete("name")
    assert (l1.get("name"), l2.get("name")) == (None, None)
    store.put("name", KEPT)
    store.clear()
    assert (l1.get("name"), l2.get("name")) == (None, None)


def test_a_tag_is_forgotten_in_both_tiers_and_counted_once() -> None:
    l1, l2 = MemoryStore(1000), MemoryStore(1000)
    store = TieredStore(l1, l2)
    for name in "abc":
        store.put(name, Stored(b"x", END, ("tag",)))
    l1.delete("a")
    assert sorted(store.names("tag")) == ["a", "b", "c"]
    assert store.forget("tag") == 3
    assert [store.locate(name) for name in "abc"] == [None, None, None]


def test_names_come_from_memory_while_the_second_tier_is_broken() -> None:
    l2 = BreakableStore()
    store = TieredStore(MemoryStore(1000), l2)
    store.put("name", KEPT)
    l2.broken = True
    assert list(store.names()) == ["name"]


def test_reading_for_housekeeping_promotes_nothing() -> None:
    l1, l2 = MemoryStore(1000), MemoryStore(1000)
    l2.put("name", KEPT)
    assert TieredStore(l1, l2).read("name") == KEPT
    assert l1.size() == (0, 0)


def test_reading_for_housekeeping_is_no_use() -> None:
    store = TieredStore(MemoryStore(2 * len(KEPT.value)), None)
    for name in ("one", "two"):
        store.put(name, KEPT)
    store.read("one")
    store.put("three", KEPT)
    assert list(store.names()) == ["two", "three"]


def test_a_broken_tier_is_skipped_counted_reported_once_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    l1, l2 = MemoryStore(1000), BreakableStore()
    store = TieredStore(l1, l2)
    l2.broken = True
    assert store.put("a", KEPT)
    assert store.locate("a") == (b"value", Tier.L1)
    assert store.locate("absent") is None
    assert store.size(Tier.L2) == (0, 0)
    assert store.faults == 4  # each call was one
    assert len(caplog.records) == 1
    assert "unplugged" in caplog.text
    l2.broken = False
    assert store.put("b", KEPT)
    assert l2.get("b") == KEPT
    l2.broken = True
    store.locate("absent")
    assert len(caplog.records) == 2


def test_a_broken_first_tier_is_skipped_as_well() -> None:
    l1, l2 = BreakableStore(), MemoryStore(1000)
    store = TieredStore(l1, l2)
    l1.broken = True
    assert store.put("name", KEPT)
    assert store.locate("name") == (b"value", Tier.L2)


def test_a_put_that_no_tier_took_says_so() -> None:
    l1, l2 = BreakableStore(), BreakableStore()
    store = TieredStore(l1, l2)
    l1.broken = l2.broken = True
    assert not store.put("name", KEPT)
    l2.broken = False
    assert store.put("name", KEPT)


def test_a_tier_that_failed_at_another_call_does_not_decide_about_this_put() -> None:
    l1, l2 = BreakableStore(), BreakableStore()
    store = TieredStore(l1, l2)
    l1.broken = l2.broken = True
    store.locate("name")
    l1.broken = False
    assert store.put("name", KEPT)


def test_a_corrupt_row_is_told_to_who_decides_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise CorruptEntry("a pickled value was refused")

    l2 = BreakableStore()
    store = TieredStore(MemoryStore(1000), l2)
    l2.put("name", KEPT)
    monkeypatch.setattr(l2, "get", refuse)
    monkeypatch.setattr(l2, "peek", refuse)
    for look in (store.locate, store.read):
        with pytest.raises(CorruptEntry):
            look("name")
    assert list(l2.names()) == ["name"]
    assert store.faults == 0


def test_closing_goes_on_past_a_broken_tier() -> None:
    l1, l2 = BreakableStore(), BreakableStore()
    l1.broken = True
    TieredStore(l1, l2).close()
    assert l2.calls == 1


def test_what_was_replaced_while_it_was_read_is_not_kept_in_memory() -> None:
    l1, l2 = MemoryStore(1000), MemoryStore(1000)
    store = TieredStore(l1, l2)
    l2.put("name", KEPT)
    before = store.standing()
    l2.put("name", KEPT._replace(value=b"newer"))
    store.standing()  # another reader
    l2.get = lambda name: KEPT  # type: ignore[method-assign]
    assert store.locate_in(before, "name") == (b"value", Tier.L2)
    assert l1.get("name") is None
