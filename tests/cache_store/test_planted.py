"""Whatever somebody planted in a store: a lookup misses, says why, and counts it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cache_store import codec
from cache_store.cache import ResponseCache, open_cache
from cache_store.stores import framing
from cache_store.stores.write_behind import WriteBehind
from cache_store.types import Evicted, FinishReason, Miss
from tests.cache_store.children import forget_memory, settle
from tests.cache_store.samples import QUERY, answer
from tests.cache_store.stores.redis_server import RedisServer
from tests.cache_store.test_codec import ODD, sealed

COLUMNS: dict[str, list[object]] = {
    "expire_time": [None, "never", b"x"],
    "tag": [None, "[", "[NaN]", "[" * 50_000, f"[{10**400}]", b"\xff"],
    "mode": [None, 0, 3, 4, "text", -1],
    "value": [None, "", "text", b"", b"\xff\xfe", 0, 1.5, b"QCE1" + bytes(60)],
}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ResponseCache]:
    """With one answer, on disk only."""
    cache = open_cache(tmp_path)
    keep(cache)
    yield cache
    cache.close()


def keep(cache: ResponseCache) -> None:
    assert cache.store(QUERY, answer()) is not None
    settle(cache)
    forget_memory(cache)


def refused(cache: ResponseCache, times: int) -> None:
    """The lookup misses and counts what is gone; everything else goes on as well."""
    cache.explain(QUERY)
    found = cache.lookup(QUERY)
    assert isinstance(found, Miss)
    assert found.why == "corrupt"
    stats = cache.stats()
    assert (stats.evicted[Evicted.CORRUPT], stats.errors) == (times, times)
    assert list(cache.names()) == []


@pytest.mark.parametrize("column", COLUMNS)
def test_odd_rows_are_corrupt(cache: ResponseCache, tmp_path: Path, column: str) -> None:
    for times, value in enumerate(COLUMNS[column], 1):
        with closing(sqlite3.connect(tmp_path / "answers" / "cache.db")) as database, database:
            database.execute(f"UPDATE Cache SET {column} = ?", (value,))
        refused(cache, times)
        keep(cache)


def test_a_damaged_row_that_is_read_is_dropped_and_counted(
    cache: ResponseCache, tmp_path: Path
) -> None:
    (name,) = cache.names()
    with closing(sqlite3.connect(tmp_path / "answers" / "cache.db")) as database, database:
        database.execute("UPDATE Cache SET tag = 5")
    assert cache.read(name) is None
    assert cache.stats().evicted[Evicted.CORRUPT] == 1
    assert list(cache.names()) == []


def odd_values(value: bytes) -> Iterator[bytes]:
    body = value[codec._HEAD :]
    end = 4 + int.from_bytes(body[:4], "big")
    rest = json.loads(body[end:])
    yield b""
    yield value[:-1]
    yield sealed(body[:end])
    yield sealed(body[:end] + b"[" * 50_000)
    for name in (*rest["answer"], "max_tokens", "created_at", "expires_at"):
        for odd in ODD:
            if odd == "1" and name in ("text", "thought"):
                continue
            changed = json.loads(body[end:])
            (changed["answer"] if name in rest["answer"] else changed)[name] = odd
            yield sealed(body[:end] + json.dumps(changed).encode())
    for reason in set(FinishReason) - {FinishReason.STOP, FinishReason.LENGTH}:
        rest["answer"]["finish_reason"] = reason
        yield sealed(body[:end] + json.dumps(rest).encode())


def test_odd_values_are_corrupt_on_disk(cache: ResponseCache) -> None:
    (name,) = cache.names()
    stored = cache.read(name)
    assert stored is not None
    l2 = cache._store._l2
    assert isinstance(l2, WriteBehind)
    for times, value in enumerate(odd_values(stored.value), 1):
        l2._inner.put(name, stored._replace(value=value))
        refused(cache, times)


def test_odd_values_are_corrupt_on_a_server(redis_server: RedisServer, tmp_path: Path) -> None:
    cache = open_cache(tmp_path, store=f"{redis_server.url}?socket_timeout=2")
    keep(cache)
    (name,) = cache.names()
    stored = cache.read(name)
    assert stored is not None
    framed = framing.frame(name, stored)
    with redis_server.client() as client:
        odd = [framing.frame(name, stored._replace(value=v)) for v in odd_values(stored.value)]
        for times, value in enumerate([b"", framed[:-1], *odd], 1):
            client.set(f"qwen-ui:e:{name}", value)
            refused(cache, times)
    cache.close()
