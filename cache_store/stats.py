"""Counters and a time series: cheap to add to, kept over restarts, summed over processes."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from cache_store.database import Database
from cache_store.types import SeriesPoint

SLOT_S = 60
KEEP_SLOTS = 24 * 60
_FLUSH_EVERY_S = 2.0
_SAMPLES = 1024  # lookups that the percentiles look back on

_ADD_COUNTER = (
    "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
    " DO UPDATE SET value = value + excluded.value"
)
_ADD_SLOT = (
    "INSERT INTO series VALUES (?, ?, ?) ON CONFLICT (slot)"
    " DO UPDATE SET hits = hits + excluded.hits, misses = misses + excluded.misses"
)


@dataclass(frozen=True, slots=True)
class Totals:
    """All counters since the file was made, unflushed ones included."""

    counters: Counter[str]
    series: tuple[SeriesPoint, ...]
    lookup_p50_s: float
    lookup_p95_s: float


class StatsRecorder:
    """Adds in memory; a thread writes the differences to the database now and then."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # so that nobody reads while counts are in neither place
        self._unwritten: Counter[str] = Counter()
        self._slots: dict[int, list[int]] = {}
        self._lookups: deque[float] = deque(maxlen=_SAMPLES)
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_often, name="stats", daemon=True)
        self._writer.start()

    def add(self, **amounts: float) -> None:
        """Add to counters by name."""
        with self._lock:
            self._unwritten.update(amounts)

    def looked_up(self, hit: bool, seconds: float) -> None:
        """One lookup that could have hit, for the series and the percentiles."""
        slot = int(self._now() // SLOT_S)
        with self._lock:
            self._slots.setdefault(slot, [0, 0])[0 if hit else 1] += 1
            self._lookups.append(seconds)

    def totals(self, minutes: int = 60) -> Totals:
        """What was counted; the series covers the last `minutes`, empty slots included."""
        with self._flushing:
            return self._totals(minutes)

    def _totals(self, minutes: int) -> Totals:
        written = Counter(dict(self._database.read("SELECT * FROM counters")))
        newest = int(self._now() // SLOT_S)
        oldest = newest - minutes + 1
        slots = {
            slot: [hits, misses]
            for slot, hits, misses in self._database.read(
                "SELECT * FROM series WHERE slot >= ?", (oldest,)
            )
        }
        with self._lock:
            written.update(self._unwritten)
            for slot, (hits, misses) in self._slots.items():
                old = slots.get(slot, [0, 0])
                slots[slot] = [old[0] + hits, old[1] + misses]
            samples = sorted(self._lookups)
        series = tuple(
            SeriesPoint(float(slot * SLOT_S), SLOT_S, *slots.get(slot, (0, 0)))
            for slot in range(oldest, newest + 1)
        )
        return Totals(written, series, _percentile(samples, 0.5), _percentile(samples, 0.95))

    def flush(self) -> None:
        """Write what is not written yet; what cannot be written is kept for the next time."""
        with self._flushing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            counters, self._unwritten = self._unwritten, Counter()
            slots, self._slots = self._slots, {}
        if not counters and not slots:
            return
        oldest = int(self._now() // SLOT_S) - KEEP_SLOTS
        written = self._database.write(
            [
                (_ADD_COUNTER, list(counters.items())),
                (_ADD_SLOT, [(slot, *counts) for slot, counts in slots.items()]),
                ("DELETE FROM series WHERE slot < ?", [(oldest,)]),
            ]
        )
        if not written:
            self._take_back(counters, slots)

    def close(self) -> None:
        self._closing.set()
        self._writer.join()
        self.flush()

    def _take_back(self, counters: Counter[str], slots: dict[int, list[int]]) -> None:
        with self._lock:
            self._unwritten.update(counters)
            for slot, (hits, misses) in slots.items():
                mine = self._slots.setdefault(slot, [0, 0])
                mine[0] += hits
                mine[1] += misses

    def _write_often(self) -> None:
        while not self._closing.wait(_FLUSH_EVERY_S):
            self.flush()


def _percentile(ordered: list[float], share: float) -> float:
    """Nearest-rank percentile; 0 when there is nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
