"""When a second look is worth it."""

from __future__ import annotations

import time

import pytest

from cache_store.looks import Looks


def test_a_look_is_repeated_when_something_was_stored_since_or_it_is_not_from_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = Looks()
    look = kept.look()
    assert not kept.worth_repeating(look)
    kept.stored()
    assert kept.worth_repeating(look)
    look = kept.look()
    assert not kept.worth_repeating(look)
    now[0] += 1
    assert kept.worth_repeating(look)


def test_who_has_not_looked_looks() -> None:
    assert Looks().worth_repeating(None)
