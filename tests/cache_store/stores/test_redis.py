"""A shared server as L2: the contract, and a server that fails in every way."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores import framing
from cache_store.stores.base import Store, Stored, name_tag
from cache_store.stores.redis import RedisStore
from tests.cache_store.stores.contract import StoreContract, lasting
from tests.cache_store.stores.redis_server import GARBAGE, RedisServer, nonsense_server


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, shared_redis: RedisServer) -> None:
        self.server = shared_redis

    def open(self, tmp_path: Path) -> Store:
        return RedisStore(f"{self.server.url}?socket_timeout=2", f"{tmp_path.name}:")


def opened(server: RedisServer, **options: float) -> RedisStore:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return RedisStore(f"{server.url}?{query}")


def value_of(store: Store, name: str) -> bytes | None:
    found = store.get(name)
    return found and found.value


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def is_back(store: RedisStore) -> bool:
    try:
        store.get("anything")
    except StoreUnavailable:
        return False
    return True


# --- what lies on the server -------------------------------------------------------------------


def test_an_entry_is_one_readable_key_with_a_time_to_live(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("qwen3vl:model:picture:scope:question", lasting(b"x", 50, "image:cat"))
    with redis_server.client() as client:
        key = b"qwen-ui:e:qwen3vl:model:picture:scope:question"
        assert key in client.keys("*")
        assert 49_000 < client.pttl(key) <= 50_000
        assert 49_000 < client.pttl("qwen-ui:t:image:cat") <= 50_000
    store.close()


def test_ended_entries_leave_the_tag_sets_and_the_server(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("short", lasting(b"x", 0.2, "tag"))
    time.sleep(0.3)
    store.put("long", lasting(b"x", 50, "tag"))
    store.put("brief", lasting(b"x", 0.2, "lonely"))
    with redis_server.client() as client:
        assert client.zrange("qwen-ui:t:tag", 0, -1) == [b"long"]
        assert client.pttl("qwen-ui:t:tag") > 40_000
        assert store.size()[0] == 2
        time.sleep(0.3)
        assert store.size()[0] == 1
        assert client.exists("qwen-ui:e:short", "qwen-ui:e:brief", "qwen-ui:t:lonely") == 0
    store.close()


def test_a_client_whose_clock_is_ahead_takes_no_tags_from_others(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, right = opened(redis_server), time.time
    store.put("theirs", lasting(b"x", 50, "tag"))
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: right() + 24 * 3600)
        store.put("ours", lasting(b"x", 50, "tag"))
    assert store.size()[0] == 2
    assert store.forget("tag") == 2
    store.close()


def test_a_clear_leaves_what_is_not_ours(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("name", lasting(b"x", 50, "tag"))
    with redis_server.client() as client:
        client.set("theirs", "x")
        store.clear()
        assert sorted(client.keys("*")) == [b"qwen-ui:generation", b"theirs"]
    store.close()


def test_a_server_that_may_evict_loses_tag_sets_and_forget_still_finds_all(
    redis_server: RedisServer,
) -> None:
    store = opened(redis_server, socket_timeout=2)
    for number in range(700):
        many = 150 if number % 20 == 1 else 0  # then the head is longer than what is read of it
        tags = ("tag", *(f"padding{n}" for n in range(many)))
        store.put(f"n{number}", lasting(b"x", 50, *(tags if number % 2 else ("other",))))
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.delete("qwen-ui:t:tag")
    assert store.forget("tag") == 350
    assert len(list(store.names("other"))) == 350
    store.close()


def test_another_client_learns_of_a_new_generation(redis_server: RedisServer) -> None:
    one, other = opened(redis_server), opened(redis_server)
    before = other.generation()
    assert one.generation() == before
    one.forget("anything")
    until(lambda: other.generation() == one.generation(), 2.0)
    assert other.generation() != before
    assert not other.put("late", lasting(b"x"), before)
    one.close()
    other.close()


# --- a server that fails -----------------------------------------------------------------------


def test_a_dead_server_is_unavailable_and_back_when_it_is(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("name", lasting(b"x"))
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        store.get("name")
    redis_server.start()
    until(lambda: is_back(store))
    assert store.get("name") is None  # it came back empty
    store.put("name", lasting(b"y"))
    assert value_of(store, "name") == b"y"
    store.close()


def test_a_server_that_hangs_costs_one_timeout_and_then_nothing(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("name", lasting(b"x"))
    redis_server.pause()
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        store.get("name")
    first_s = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(1000):
        with pytest.raises(StoreUnavailable):
            store.get("name")
        with pytest.raises(StoreUnavailable):
            store.put("name", lasting(b"y"))
    later_s = time.perf_counter() - began
    assert 0.04 < first_s < 2  # 50 ms, and what a busy machine adds
    assert later_s < 1  # each would have been 50 ms: 100 s
    redis_server.go_on()
    until(lambda: is_back(store))
    assert value_of(store, "name") == b"x"
    store.close()


def test_a_server_that_was_not_there_at_first_is_used_once_it_is(
    redis_server: RedisServer,
) -> None:
    redis_server.kill()
    store = opened(redis_server)
    with pytest.raises(StoreUnavailable):
        store.put("name", lasting(b"x"))
    redis_server.start()
    until(lambda: is_back(store))
    store.put("name", lasting(b"x"))
    assert value_of(store, "name") == b"x"
    store.close()


def test_a_server_that_restarted_at_once_costs_nothing(redis_server: RedisServer) -> None:
    store = opened(redis_server, socket_timeout=2)
    store.put("name", lasting(b"x"))
    redis_server.kill()
    redis_server.start()
    assert store.get("name") is None
    store.close()


def test_a_server_that_came_back_empty_has_another_generation(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    before = store.generation()
    redis_server.kill()
    redis_server.start()
    until(lambda: is_back(store) and store.generation() != before)
    assert not store.put("late", lasting(b"x"), before)
    store.close()


def test_a_full_server_takes_nothing_and_still_answers(redis_server: RedisServer) -> None:
    store = opened(redis_server)
    store.put("name", lasting(b"x"))
    with redis_server.client() as client:
        client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        store.put("other", lasting(b"x" * 100_000))
    assert value_of(store, "name") == b"x"
    store.close()


class Marker:
    """Unpickling it creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_poisoned_values_are_refused_and_nothing_is_run(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    store = opened(redis_server)
    store.put("mine", lasting(b"x", 50, "tag"))
    store.put("theirs", lasting(b"y"))
    marker = tmp_path / "marker"
    with redis_server.client() as client:
        good = client.get("qwen-ui:e:mine")
        assert isinstance(good, bytes)
        poison = [
            pickle.dumps(Marker(marker)),
            b"",
            b"QCR1",
            good[:-1],
            good + b"x",
            good[:30] + b"\0" + good[31:],
            client.get("qwen-ui:e:theirs"),  # another name's entry
        ]
        for data in poison:
            client.set("qwen-ui:e:mine", data)
            with pytest.raises(CorruptEntry):
                store.get("mine")
            assert list(store.names("tag")) in ([], ["mine"])
        client.delete("qwen-ui:e:mine")
        client.rpush("qwen-ui:e:mine", "a list")
        with pytest.raises(CorruptEntry):
            store.get("mine")
        assert value_of(store, "theirs") == b"y"
        store.put("mine", lasting(b"z"))
        assert value_of(store, "mine") == b"z"
        client.set("qwen-ui:t:tag", "no sorted set")
        with pytest.raises(StoreUnavailable):
            store.put("mine", lasting(b"z", 50, "tag"))
        client.set("qwen-ui:generation", "no number")
        time.sleep(0.5)
        with pytest.raises(StoreUnavailable):
            store.generation()
    assert not marker.exists()
    store.close()


HEADS = [
    *("", "5", "null", "{}", "[]", "[1]", '["9e9", 0]', "[NaN, 0]", "[Infinity, 0]", "[true, 0]"),
    *("[9e9, null]", "[9e9, 0, 5]", "[9e9, -Infinity]", f"[{10**400}, 0]", "[" * 100_000),
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_right_checksum_over_another_head_is_refused(
    shared_redis: RedisServer, head: str
) -> None:
    store = opened(shared_redis, socket_timeout=2)
    body = len(head).to_bytes(4, "big") + head.encode() + b"value"
    with shared_redis.client() as client:
        client.set("qwen-ui:e:name", b"QCR1" + framing._checksum("name", body) + body)
        client.zadd("qwen-ui:t:tag", {"name": 9e9})
    with pytest.raises(CorruptEntry):
        store.get("name")
    assert list(store.names(name_tag("name"))) == list(store.names("tag")) == []
    store.clear()
    store.close()


def test_a_name_that_is_no_text_is_nobodys(shared_redis: RedisServer) -> None:
    store = opened(shared_redis, socket_timeout=2)
    store.put("name", lasting(b"x", 50, "tag"))
    with shared_redis.client() as client:
        client.set(b"qwen-ui:e:\xff", b"x")
        client.zadd("qwen-ui:t:tag", {b"\xff": 9e9})
    assert list(store.names()) == list(store.names("tag")) == ["name"]
    assert store.forget("tag") == 1
    store.clear()
    store.close()


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_server_that_answers_garbage_is_never_believed(garbage: bytes) -> None:
    with nonsense_server(garbage) as port:
        store = RedisStore(f"redis://127.0.0.1:{port}/0")
        for call in (
            lambda: store.get("name"),
            lambda: store.put("name", lasting(b"x", 50, "tag")),
            store.generation,
            lambda: list(store.names("tag")),
            lambda: list(store.names()),
            lambda: store.forget("tag"),
            store.size,
            lambda: store.delete("name"),
        ):
            with suppress(StoreUnavailable, CorruptEntry):
                assert not isinstance(call(), Stored)
        store.close()
