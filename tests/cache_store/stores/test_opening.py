"""A store by its URL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cache_store.errors import StoreUnavailable, UnknownStore
from cache_store.stores.disk import DiskStore
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.stores.redis import RedisStore
from tests.cache_store.stores.contract import lasting


def test_each_kind_opens(tmp_path: Path) -> None:
    assert isinstance(open_store("memory:"), MemoryStore)
    disk = open_store(f"disk:{tmp_path}/a:b")
    assert isinstance(disk, DiskStore)
    assert (tmp_path / "a:b" / "cache.db").exists()
    disk.close()
    for url in ("redis://127.0.0.1:1/0", "rediss://127.0.0.1:1", "unix:///nowhere/redis.sock"):
        server = open_store(url)  # it need not be there
        assert isinstance(server, RedisStore)
        server.close()


def test_the_budget_is_passed_on(tmp_path: Path) -> None:
    memory = open_store("memory:", 10)
    memory.put("a", lasting(b"x" * 11))
    assert memory.get("a") is None
    disk = open_store(f"disk:{tmp_path}", 2**20)
    disk.put("a", lasting(b"x" * (2**20 + 1)))
    assert disk.get("a") is None
    disk.close()


@pytest.mark.parametrize(
    "url",
    ["", "memory", "memory:x", "disk", "disk:", "postgres://x", "C:/cache", "redis://h:port", ":"],
)
def test_what_names_no_store_is_refused_with_what_to_give(url: str) -> None:
    with pytest.raises(UnknownStore, match=r"memory:|disk:PATH|redis://HOST"):
        open_store(url)


@pytest.mark.parametrize("url", ["redis://:secret@h:port", "nonsense://me:secret@host"])
def test_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(UnknownStore) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_missing_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "cache_store.stores.redis", raising=False)
    with pytest.raises(UnknownStore, match="pip install redis"):
        open_store("redis://127.0.0.1")


def test_a_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        open_store(f"disk:{tmp_path}/file")
