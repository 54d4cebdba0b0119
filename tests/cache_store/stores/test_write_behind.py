"""Writes behind the request: the contract, and what happens when they cannot keep up."""

from __future__ import annotations

from pathlib import Path

from cache_store.stores.base import Store
from cache_store.stores.disk import DiskStore
from cache_store.stores.write_behind import WriteBehind
from tests.cache_store.stores.contract import StoreContract


class TestWriteBehind(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return WriteBehind(DiskStore(tmp_path / "answers", 2**26), max_pending=10_000)
