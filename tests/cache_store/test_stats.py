"""Counts that nothing loses: not a restart, not a second process, not a failed write."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cache_store.database import Database
from cache_store.stats import SLOT_S, StatsRecorder
from tests.cache_store.samples import ROOT


def test_counts_are_there_before_they_are_written_and_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    stats = StatsRecorder(database, lambda: 1000.0)
    stats.add(hits_l1=2, saved_s=1.5)
    stats.add(hits_l1=1)
    stats.looked_up(True, 0.1)
    assert stats.totals().counters == {"hits_l1": 3, "saved_s": 1.5}
    stats.close()
    database.close()
    database = Database(tmp_path / "meta")
    stats = StatsRecorder(database, lambda: 1000.0)
    stats.add(hits_l1=1)
    totals = stats.totals()
    assert totals.counters == {"hits_l1": 4, "saved_s": 1.5}
    assert totals.series[-1].hits == 1
    stats.close()
    database.close()


def test_a_flush_changes_no_total(tmp_path: Path) -> None:
    stats = StatsRecorder(Database(tmp_path / "meta"))
    for _ in range(5):
        stats.add(misses=1)
        stats.looked_up(False, 0.1)
        before = stats.totals()
        stats.flush()
        assert stats.totals() == before
    stats.close()


def test_two_processes_add_up(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from cache_store.database import Database\n"
        "from cache_store.stats import StatsRecorder\n"
        f"stats = StatsRecorder(Database(Path({str(tmp_path / 'meta')!r})))\n"
        "for _ in range(100): stats.add(hits_l1=1); stats.looked_up(True, 0.1); stats.flush()\n"
        "stats.close()\n"
    )
    stats = StatsRecorder(Database(tmp_path / "meta"))
    child = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    for _ in range(100):
        stats.add(hits_l1=1)
        stats.looked_up(True, 0.1)
        stats.flush()
    assert child.wait(30) == 0
    stats.flush()
    totals = stats.totals()
    assert totals.counters["hits_l1"] == 200
    assert sum(point.hits for point in totals.series) == 200
    stats.close()


def test_the_series_has_a_point_for_each_minute_empty_ones_too() -> None:
    now = [SLOT_S * 100.0]
    stats = StatsRecorder(Database(None), lambda: now[0])
    stats.looked_up(True, 0.1)
    stats.flush()
    stats.looked_up(False, 0.1)
    now[0] = SLOT_S * 102.5
    stats.looked_up(True, 0.1)
    series = stats.totals(minutes=5).series
    assert [(p.start / SLOT_S, p.hits, p.misses) for p in series] == [
        (98, 0, 0),
        (99, 0, 0),
        (100, 1, 1),
        (101, 0, 0),
        (102, 1, 0),
    ]
    assert {p.width_s for p in series} == {SLOT_S}
    stats.close()


def test_old_points_are_removed() -> None:
    now = [0.0]
    database = Database(None)
    stats = StatsRecorder(database, lambda: now[0])
    stats.looked_up(True, 0.1)
    stats.flush()
    now[0] = 3 * 24 * 3600.0
    stats.looked_up(True, 0.1)
    stats.flush()
    assert len(database.read("SELECT * FROM series")) == 1
    stats.close()


def test_percentiles_are_those_of_the_latest_lookups() -> None:
    stats = StatsRecorder(Database(None))
    assert stats.totals().lookup_p50_s == 0.0
    for number in range(1, 101):
        stats.looked_up(True, number / 100)
    totals = stats.totals()
    assert totals.lookup_p50_s == pytest.approx(0.5, abs=0.011)
    assert totals.lookup_p95_s == pytest.approx(0.95, abs=0.011)
    for _ in range(1024):
        stats.looked_up(True, 7.0)
    assert stats.totals().lookup_p50_s == 7.0
    stats.close()


class SlowDatabase(Database):
    """Fails or waits on command."""

    def __init__(self) -> None:
        super().__init__(None)
        self.fail = False
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def write(self, statements: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> bool:
        self.entered.set()
        self.go.wait(10)
        return False if self.fail else super().write(statements)


def test_what_could_not_be_written_is_kept_and_written_later() -> None:
    database = SlowDatabase()
    stats = StatsRecorder(database)
    database.fail = True
    for _ in range(3):
        stats.add(hits_l1=1)
        stats.looked_up(True, 0.1)
        stats.flush()
    assert stats.totals().counters["hits_l1"] == 3
    assert database.read("SELECT * FROM counters") == []
    database.fail = False
    stats.flush()
    assert database.read("SELECT * FROM counters") == [("hits_l1", 3.0)]
    totals = stats.totals()
    assert totals.counters["hits_l1"] == 3
    assert sum(point.hits for point in totals.series) == 3
    stats.close()


def test_counts_do_not_vanish_while_they_are_being_written() -> None:
    database = SlowDatabase()
    stats = StatsRecorder(database)
    stats.add(hits_l1=5)
    database.go.clear()
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(stats.flush)
        assert database.entered.wait(10)
        reading = pool.submit(stats.totals)
        database.go.set()
        writing.result()
        assert reading.result().counters["hits_l1"] == 5
    stats.close()


def test_many_threads_lose_no_count() -> None:
    stats = StatsRecorder(Database(None))

    def work(_: int) -> None:
        for _ in range(500):
            stats.add(hits_l1=1)
            stats.looked_up(True, 0.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
        stats.flush()
    assert stats.totals().counters["hits_l1"] == 4000
    stats.close()
