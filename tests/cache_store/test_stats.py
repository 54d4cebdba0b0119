"""Counts that nothing loses: not a restart, not a second process, not a failed write."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cache_store.database import Database
from cache_store.stats import KEEP_SLOTS, SLOT_S, StatsRecorder
from cache_store.types import Evicted
from tests.cache_store.samples import ROOT


def test_counts_are_there_before_they_are_written_and_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    stats = StatsRecorder(database, lambda: 1000.0)
    stats.add(hits_l1=2, saved_s=1.5)
    stats.add(hits_l1=1)
    assert stats.totals().counters == {"hits_l1": 3, "saved_s": 1.5}
    stats.close()
    database.close()
    database = Database(tmp_path / "meta")
    stats = StatsRecorder(database, lambda: 1000.0)
    stats.add(hits_l1=1)
    totals = stats.totals()
    assert totals.counters == {"hits_l1": 4, "saved_s": 1.5}
    assert totals.series[-1].hits == 4
    stats.close()
    database.close()


def test_a_flush_changes_no_total(tmp_path: Path) -> None:
    stats = StatsRecorder(Database(tmp_path / "meta"))
    for _ in range(5):
        stats.add(misses=1)
        stats.took("lookup", 0.1)
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
        "for _ in range(100): stats.add(hits_l1=1); stats.took('lookup', 0.1); stats.flush()\n"
        "stats.close()\n"
    )
    stats = StatsRecorder(Database(tmp_path / "meta"))
    child = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    for _ in range(100):
        stats.add(hits_l1=1)
        stats.took("lookup", 0.1)
        stats.flush()
    assert child.wait(30) == 0
    stats.flush()
    totals = stats.totals()
    assert totals.counters["hits_l1"] == 200
    assert sum(point.hits for point in totals.series) == 200
    assert sum(totals.latencies["lookup"].values()) == 200
    stats.close()


def test_the_series_has_a_point_for_each_minute_empty_ones_too() -> None:
    now = [SLOT_S * 100.0]
    stats = StatsRecorder(Database(None), lambda: now[0])
    stats.add(hits_l1=1)
    stats.flush()
    stats.add(misses=1)
    now[0] = SLOT_S * 102.5
    stats.add(hits_l1=1)
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
    stats.add(hits_l1=1)
    stats.flush()
    now[0] = 3 * 24 * 3600.0
    stats.add(hits_l1=1)
    stats.flush()
    assert len(database.read("SELECT * FROM slots")) == 1
    stats.close()


def test_percentiles_are_right_to_five_percent_and_outlive_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    stats = StatsRecorder(database)
    assert stats.report().lookup_p50_s == 0.0
    for number in range(1, 101):
        stats.took("lookup", number / 1e5)
        stats.took("write", number / 1e2)
    stats.close()
    database.close()
    stats = StatsRecorder(Database(tmp_path / "meta"))
    report = stats.report()
    assert report.lookup_p50_s == pytest.approx(50e-5, rel=0.05)
    assert report.lookup_p95_s == pytest.approx(95e-5, rel=0.05)
    assert report.lookup_p99_s == pytest.approx(99e-5, rel=0.05)
    assert report.write_p50_s == pytest.approx(0.5, rel=0.05)
    assert report.write_p95_s == pytest.approx(0.95, rel=0.05)
    stats.close()


def test_percentiles_look_back_a_day_and_older_rows_are_removed() -> None:
    now = [0.0]
    database = Database(None)
    stats = StatsRecorder(database, lambda: now[0])
    stats.took("lookup", 5.0)
    stats.flush()
    now[0] = 23.5 * 3600
    stats.took("lookup", 0.001)
    assert stats.report().lookup_p99_s == pytest.approx(5.0, rel=0.05)
    now[0] = 24 * 3600
    assert stats.report().lookup_p99_s == pytest.approx(0.001, rel=0.05)
    stats.flush()
    assert len(database.read("SELECT * FROM latencies")) == 1
    stats.close()


def test_a_busy_day_takes_a_bounded_number_of_rows() -> None:
    now = [0.0]
    database = Database(None)
    stats = StatsRecorder(database, lambda: now[0])
    for minute in range(3 * 24 * 60):
        now[0] = minute * 60.0
        stats.add(hits_l1=1, hits_l2=1, equivalent_l1=1, equivalent_l2=1, misses=1, saved_s=1)
        for exponent in range(-9, 5):
            stats.took("lookup", 10.0**exponent)
        if minute % 60 == 0:
            stats.flush()
    stats.flush()
    (slots,), (latencies,) = (
        database.read(f"SELECT count(*) FROM {name}")[0] for name in ("slots", "latencies")
    )
    assert slots <= (KEEP_SLOTS + 1) * 6
    assert latencies <= 25 * 14
    stats.close()


def test_the_report_names_every_outcome() -> None:
    stats = StatsRecorder(Database(None))
    stats.add(hits_l1=3, hits_l2=2, equivalent_l1=1, collapsed=4, misses=5, bypasses=1)
    stats.add(stored=6, refused=1, dropped_writes=2, corrupt=1, saved_s=1.5, saved_busy_s=0.5)
    stats.add(evicted_expired=1, evicted_budget=2, evicted_quarantined=3, saved_tokens=7)
    stats.add(audited=9, mismatched=1, drifted=2, unaudited=3)
    report = stats.report()
    assert (report.hits, report.equivalent, report.collapsed, report.misses) == (5, 1, 4, 5)
    assert (report.stored, report.refused, report.dropped_writes, report.errors) == (6, 1, 2, 1)
    assert report.evicted == {
        Evicted.EXPIRED: 1, Evicted.BUDGET: 2, Evicted.FORGOTTEN: 0, Evicted.CORRUPT: 0,
        Evicted.QUARANTINED: 3,
    }  # fmt: skip
    assert (report.audited, report.mismatched, report.drifted, report.unaudited) == (9, 1, 2, 3)
    assert (report.saved_s, report.saved_busy_s, report.saved_tokens) == (1.5, 0.5, 7)
    point = report.series[-1]
    assert (point.hits, point.equivalent, point.collapsed, point.misses) == (5, 1, 4, 5)
    assert (point.bypasses, point.saved_s) == (1, 1.5)
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
        stats.took("lookup", 0.1)
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


def test_a_disk_that_stays_full_does_not_fill_the_memory() -> None:
    now = [0.0]
    database = SlowDatabase()
    database.fail = True
    stats = StatsRecorder(database, lambda: now[0])
    for minute in range(3 * 24 * 60):
        now[0] = minute * 60.0
        stats.add(hits_l1=1)
        stats.took("lookup", 0.001)
    stats.flush()
    assert len(stats._unwritten.slots) == KEEP_SLOTS
    assert len(stats._unwritten.latencies) == 24
    assert stats.report().hits == 3 * 24 * 60
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
            stats.took("lookup", 0.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
        stats.flush()
    assert stats.totals().counters["hits_l1"] == 4000
    stats.close()


ODD = ["text", b"\xff", -1, 1.7e308, float("inf")]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_planted_rows_are_left_out(odd: object) -> None:
    database = Database(None)
    stats = StatsRecorder(database)
    stats.add(misses=1, audited=1)
    stats.took("lookup", 0.1)
    stats.flush()
    names = ("mismatched", "saved_tokens", "saved_s", "hits_l1")
    slot, hour = int(time.time() // 60), int(time.time() // 3600)
    database.write(
        [
            ("INSERT INTO counters VALUES (?, ?)", [(name, odd) for name in names]),
            ("INSERT INTO slots VALUES (?, ?, ?)", [(slot, "hits_l1", odd), (odd, "misses", 1)]),
            ("INSERT INTO latencies VALUES (?, ?, ?, ?)", [(hour, "lookup", odd, 1)]),
            ("INSERT INTO latencies VALUES (?, ?, ?, ?)", [(hour, "lookup", 0, odd)]),
        ]
    )
    report = stats.report()
    assert (report.misses, report.saved_tokens, report.hits, report.saved_s) == (1, 0, 0, 0.0)
    stats.close()
