"""What the disk store removes, and in which order."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from cache_store.stores.disk import DiskStore
from tests.cache_store.stores.contract import lasting

BUDGET = 2**26


def test_a_sweep_removes_what_has_ended_and_what_exceeds_the_budget(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    for number in range(100):
        store.put(str(number), lasting(os.urandom(30_000), 0.5 if number >= 90 else 100))
    store.close()
    time.sleep(0.5)
    store = DiskStore(tmp_path, 2**20)  # a third of it
    store.sweep()
    entries, size = store.size()
    assert 20 < entries < 35
    assert size <= 2**20
    assert not any(store.get(str(number)) for number in range(90, 100))
    kept = [number for number in range(90) if store.get(str(number))]
    assert kept == list(range(90 - entries, 90))  # of equals the oldest go first
    store.close()


@pytest.mark.parametrize(
    ("kept", "other", "budget"),
    [((10_000, 50.0), (10_000, 0.5), 1_600_000), ((10_000, 1.0), (30_000, 1.0), 3_000_000)],
    ids=["seconds", "bytes"],
)
def test_what_saves_the_fewest_seconds_per_byte_goes_first(
    tmp_path: Path, kept: tuple[int, float], other: tuple[int, float], budget: int
) -> None:
    store = DiskStore(tmp_path, budget)
    for number in range(100):
        for kind, (size, cost_s) in (("kept", kept), ("other", other)):
            store.put(f"{kind} {number}", lasting(os.urandom(size), cost_s=cost_s))
    counts = Counter(name.split()[0] for name in store.names())
    assert counts["kept"] == 100
    assert 10 < counts["other"] < 90
    store.close()


def test_what_is_asked_for_outlives_its_equals(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 2**20)
    for number in range(400):
        store.put(str(number), lasting(os.urandom(10_000), cost_s=1.0))
        if number >= 200:  # by now some had to go
            store.touch(["200"])
    assert store.get("200") is not None
    assert store.get("201") is None
    assert store.get("399") is not None
    store.close()
