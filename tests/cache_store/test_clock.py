"""A clock that is wrong for a while: nothing wrong is served, and nothing lives for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cache_store.cache import ResponseCache
from cache_store.database import Database
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.types import CachePolicy
from tests.cache_store.children import keep, served


class Clock:
    """Says what a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(clock: Clock) -> Iterator[ResponseCache]:
    """Answers live for 1,000 seconds of `clock`."""
    tiers = MemoryStore(2**24, clock), MemoryStore(2**24, clock)
    cache = ResponseCache(TieredStore(*tiers), Database(None), CachePolicy(ttl_s=1000), clock)
    yield cache
    cache.close()


def test_what_a_clock_kept_that_was_ahead_is_not_served_and_is_replaced(
    timed: ResponseCache, clock: Clock
) -> None:
    clock.now += 365 * 24 * 3600
    keep(timed, 1)
    assert served(timed, 1)
    clock.now -= 365 * 24 * 3600
    assert not served(timed, 1)
    keep(timed, 1)
    assert served(timed, 1)
    clock.now += 1000
    assert not served(timed, 1)
    clock.now += 365 * 24 * 3600 - 500  # when the first one would have been in its life
    assert not served(timed, 1)


def test_a_clock_that_is_set_back_prolongs_a_life_by_no_more_than_that(
    timed: ResponseCache, clock: Clock
) -> None:
    keep(timed, 1)
    clock.now += 900
    clock.now -= 500  # lived for 900 by now
    assert served(timed, 1)
    clock.now += 599
    assert served(timed, 1)
    clock.now += 1
    assert not served(timed, 1)


def test_a_clock_that_was_set_back_before_all_entries_serves_none_and_goes_on(
    timed: ResponseCache, clock: Clock
) -> None:
    keep(timed, 1)
    clock.now -= 500_000
    assert not served(timed, 1)
    keep(timed, 2)
    assert served(timed, 2)
    timed.stats()
