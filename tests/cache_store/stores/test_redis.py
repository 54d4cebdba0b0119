"""A shared server as L2: the contract, and a server that fails in every way."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.stores.base import Store
from cache_store.stores.redis import RedisStore
from tests.cache_store.stores.contract import StoreContract
from tests.cache_store.stores.redis_server import RedisServer


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, shared_redis: RedisServer) -> None:
        self.server = shared_redis

    def open(self, tmp_path: Path) -> Store:
        return RedisStore(f"{self.server.url}?socket_timeout=2", f"{tmp_path.name}:")
