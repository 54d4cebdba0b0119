"""What was used last stays."""

from __future__ import annotations

from cache_store.recent import Recent


def filled(most: int, *keys: str) -> Recent[str]:
    recent = Recent[str](most)
    for key in keys:
        recent.put(key, key.upper())
    return recent


def test_what_was_not_used_for_longest_goes() -> None:
    recent = filled(2, "a", "b")
    assert recent.get("a") == "A"
    recent.put("c", "C")
    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    assert len(recent) == 2


def test_what_is_put_again_is_new_again() -> None:
    recent = filled(2, "a", "b", "a", "c")
    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]


def test_values_are_removed_one_by_one_by_kind_or_all() -> None:
    recent = filled(9, "a", "b", "c", "d")
    recent.pop("a")
    recent.pop("absent")
    recent.remove(lambda value: value in "BC")
    assert [recent.get(key) for key in "abcd"] == [None, None, None, "D"]
    recent.clear()
    assert len(recent) == 0
