"""What was forgotten while the shared store was out stays forgotten when it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_store.cache import ResponseCache, open_cache
from cache_store.database import Database
from cache_store.errors import StoreUnavailable
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from cache_store.tags import image_tag
from cache_store.types import Hit
from tests.cache_store.children import forget_memory, keep, question, served, settle, text
from tests.cache_store.samples import CAT, answer, asked
from tests.cache_store.stores.broken import BreakableStore
from tests.cache_store.stores.redis_server import RedisServer
from tests.cache_store.stores.test_redis import until

OTHER = asked("without a picture")


class Rig:
    def __init__(self) -> None:
        self.l2 = BreakableStore()
        self.behind = WriteBehind(self.l2)
        self.cache = ResponseCache(TieredStore(MemoryStore(2**20), self.behind), Database(None))


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.cache.close()


def forget(cache: ResponseCache, everything: bool) -> None:
    with pytest.raises(StoreUnavailable):
        cache.clear() if everything else cache.forget(image_tag(CAT))


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("promoted", [False, True])
def test_it_is_not_served_during_the_outage_nor_after(
    rig: Rig, everything: bool, promoted: bool
) -> None:
    cache = rig.cache
    keep(cache, 0)
    cache.store(OTHER, answer())
    settle(cache)
    if not promoted:
        forget_memory(cache)
    rig.l2.broken = True
    forget(cache, everything)
    assert not served(cache, 0)
    rig.l2.broken = False
    deadline = time.monotonic() + 10
    while list(rig.l2.names(image_tag(CAT))):
        assert not served(cache, 0)
        assert not list(cache.names(image_tag(CAT)))
        assert time.monotonic() < deadline
    until(lambda: cache._store.standing().reachable)
    assert not served(cache, 0)
    assert len(list(cache.names())) == (0 if everything else 1)
    assert keep(cache, 0)
    assert served(cache, 0)


@pytest.mark.parametrize("out_before", [False, True])
def test_what_was_begun_before_it_is_not_kept_after_it(rig: Rig, out_before: bool) -> None:
    cache = rig.cache
    rig.l2.broken = out_before
    begun = cache.bypass(question(0)).generation
    rig.l2.broken = True
    forget(cache, False)
    late = answer(text=text(0))
    assert cache.store(question(0), late, generation=begun) is None
    assert not served(cache, 0)
    again = cache.bypass(question(0)).generation
    assert again != begun
    assert cache.store(question(0), late, generation=again) is not None
    assert served(cache, 0)
    rig.l2.broken = False
    until(lambda: cache._store.standing().reachable)
    assert cache.store(question(0), late, generation=begun) is None


def test_a_write_that_waited_is_not_seen_again(rig: Rig) -> None:
    cache = rig.cache
    with rig.behind._writing:  # the writer is on its way to the store
        keep(cache, 0)
        rig.l2.broken = True
        rig.behind.flush(0.05)
        forget_memory(cache)
    forget(cache, False)
    rig.l2.broken = False
    until(lambda: cache._store.standing().reachable)
    assert not served(cache, 0)
    assert not list(rig.l2.names())


def test_answers_of_the_outage_are_kept_in_memory_meanwhile(rig: Rig) -> None:
    cache = rig.cache
    rig.l2.broken = True
    forget(cache, True)
    assert keep(cache, 0)
    assert served(cache, 0)


def test_what_could_not_be_made_good_is_said_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    rig = Rig()
    rig.l2.broken = True
    forget(rig.cache, True)
    rig.cache.close()
    assert "still holds what was to be forgotten" in caplog.text


def test_old_answers_that_cannot_be_read_are_not_called_forgotten(rig: Rig) -> None:
    keep(rig.cache, 0)
    settle(rig.cache)
    rig.l2.broken = True
    rig.cache._now = lambda: time.time() + 60
    with pytest.raises(StoreUnavailable):
        rig.cache.forget_older(30)
    assert not served(rig.cache, 0)


@pytest.mark.parametrize("where", ["disk", "redis"])
def test_what_one_process_asks_anew_another_does_not_serve_from_its_memory(
    shared_redis: RedisServer, tmp_path: Path, where: str
) -> None:
    url = f"{shared_redis.url}?socket_timeout=2" if where == "redis" else "disk:"
    one, other = (open_cache(tmp_path, store=url) for _ in range(2))
    keep(one, 0)
    settle(one)
    until(lambda: served(other, 0))
    generation = other.bypass(question(0)).generation
    one.store(question(0), answer(text="newer"))
    settle(one)

    def newer(cache: ResponseCache) -> bool:
        found = cache.lookup(question(0))
        assert isinstance(found, Hit)
        return found.entry.answer.text == "newer"

    if where == "disk":
        assert newer(other), "one look at the directory tells"
    until(lambda: newer(other))
    assert newer(one)
    assert other.bypass(question(0)).generation == generation, "nothing was forgotten"
    one.clear()
    one.close()
    other.close()


@pytest.mark.parametrize("how", ["pause", "breaker"])
def test_a_server_that_comes_back_with_everything_forgets_it(
    redis_server: RedisServer, tmp_path: Path, how: str
) -> None:
    cache = open_cache(tmp_path, store=redis_server.url)
    until(lambda: keep(cache, 0) and is_there(redis_server))
    if how == "pause":
        redis_server.pause()
    else:
        cache._store._l2._inner._breaker.open("open")  # type: ignore[union-attr]
    forget(cache, False)
    assert not served(cache, 0)
    redis_server.go_on()
    until(lambda: served(cache, 0) or not is_there(redis_server))
    until(lambda: cache._store.standing().reachable)
    assert not served(cache, 0)
    assert not is_there(redis_server)
    cache.close()


def is_there(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.keys("qwen-ui:e:*"))
