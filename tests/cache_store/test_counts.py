"""Every reason for which an answer is gone shows in the statistics, whichever store had it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_store.cache import ResponseCache, open_cache
from cache_store.stores.write_behind import WriteBehind
from cache_store.tags import image_tag
from cache_store.ttl import LONGEST_S
from cache_store.types import CachePolicy, Evicted
from tests.cache_store.children import NUMBERS, forget_memory, keep, question, served, text
from tests.cache_store.samples import CAT, answer
from tests.cache_store.stores.redis_server import RedisServer
from tests.cache_store.stores.test_redis import until

SMALL = CachePolicy(memory_max_bytes=2**15, disk_max_bytes=2**18)


def opened(where: str, directory: Path, redis: RedisServer) -> ResponseCache:
    store = f"{redis.url}?socket_timeout=2" if where == "redis" else f"{where}:"
    return open_cache(None if where == "memory" else directory, SMALL, store)


@pytest.fixture(params=["memory", "disk", "redis"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(where: str, tmp_path: Path, redis_server: RedisServer) -> Iterator[ResponseCache]:
    cache = opened(where, tmp_path, redis_server)
    yield cache
    cache.close()


def l2(cache: ResponseCache) -> WriteBehind | None:
    store = cache._store._l2
    assert store is None or isinstance(store, WriteBehind)
    return store


def settle(cache: ResponseCache) -> None:
    store = l2(cache)
    if store is not None:
        assert store.flush(10)
        store.sweep()


def counted(cache: ResponseCache) -> dict[str, int]:
    return {reason.value: n for reason, n in cache.stats().evicted.items() if n}


def test_what_was_forgotten_is_counted(cache: ResponseCache) -> None:
    for number in range(3):
        keep(cache, number)
    settle(cache)
    assert cache.forget(image_tag(CAT)) == 3
    keep(cache, 1)
    settle(cache)
    assert cache.clear() == 1
    keep(cache, 2)
    settle(cache)
    cache._now = lambda: time.time() + 60
    assert cache.forget_older(30) == 1
    assert counted(cache) == {"forgotten": 5}


def test_what_ended_is_counted(cache: ResponseCache, where: str) -> None:
    cache.store(question(0), answer(text=text(0)), ttl_s=0.2)
    settle(cache)
    time.sleep(0.3)
    cache.lookup(question(0))
    settle(cache)
    assert counted(cache) == ({} if where == "redis" else {"expired": 1})


@pytest.mark.parametrize("ttl_s", [math.inf, 1e300, math.nan, -math.inf])
def test_a_time_without_end_is_kept_and_read_back_and_no_time_is_refused(
    cache: ResponseCache, ttl_s: float
) -> None:
    kept_s = cache.store(question(0), answer(text=text(0)), ttl_s=ttl_s)
    settle(cache)
    if l2(cache) is not None:
        forget_memory(cache)
    assert kept_s == (LONGEST_S if ttl_s > 0 else None)
    assert served(cache, 0) is (kept_s is not None)
    stats = cache.stats()
    assert (stats.stored, stats.refused) == ((1, 0) if kept_s else (0, 1))
    assert (stats.errors, stats.dropped_writes) == (0, 0)


def test_what_had_no_room_is_counted(cache: ResponseCache, where: str) -> None:
    for number in range(NUMBERS):
        keep(cache, number)
    settle(cache)
    stats = cache.stats()
    if where == "redis":
        assert (stats.evicted[Evicted.BUDGET], stats.entries) == (0, NUMBERS)
    else:
        too_large = 6 if where == "memory" else 0  # those are refused
        assert stats.evicted[Evicted.BUDGET] > 5
        assert stats.evicted[Evicted.BUDGET] + stats.entries + too_large == NUMBERS
        assert stats.refused == too_large


def test_what_an_audit_found_wrong_is_counted(cache: ResponseCache) -> None:
    keep(cache, 0)
    settle(cache)
    cache.quarantine(question(0), answer(text=text(0)))
    assert counted(cache) == {"quarantined": 1}


def test_writes_that_a_dead_server_refused_are_counted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    cache = opened("redis", tmp_path, redis_server)
    keep(cache, 0)
    settle(cache)
    redis_server.pause()
    for number in range(4, 9):
        keep(cache, number)
    until(lambda: cache.stats().dropped_writes == 5)  # the first may have been on its way
    assert cache.stats().stored == 6
    redis_server.go_on()
    cache.close()
