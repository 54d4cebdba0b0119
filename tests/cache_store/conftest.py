"""Servers for the tests of stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cache_store.stores.redis_server import RedisServer


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One for all tests that do it no harm; each takes a prefix of its own."""
    server = RedisServer()
    yield server
    server.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """One to break."""
    server = RedisServer()
    yield server
    server.go_on()
    server.kill()
