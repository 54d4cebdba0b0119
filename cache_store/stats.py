"""Counters, a time series and latencies: cheap, kept over restarts, summed over processes.

The counters, by who adds to them:

    lookups     hits_l1, hits_l2             answers served, by tier; equivalent ones too
                equivalent_l1, equivalent_l2 those of them that were given to another wording
                misses, bypasses             nothing to serve; the request passed the cache by
                saved_s, saved_busy_s, saved_tokens
    flights     collapsed                    readers that joined a running answer
    writes      stored, refused              kept; not to be kept, or no store took it
                dropped_writes               kept in memory and nowhere else: the writer was behind,
                                             or the store refused or could not be reached
                corrupt                      stored bytes that failed their check
    eviction    evicted_REASON               REASON is one of types.Evicted. Of the last tier: what
                                             memory drops counts where it is the only one. What a
                                             server ends or evicts by itself it does not tell
    audit       audited, mismatched          answers run again; those that came out otherwise
                audited_remote, drifted      the same for servers that are not ours
                unaudited                    sampled, but no room was left, or the picture is gone

Latencies (`took`): `lookup`, and `write`, the time until a store has taken an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cache_store.bounds import upper_bound
from cache_store.database import Database
from cache_store.histogram import bucket, percentile
from cache_store.types import CacheStats, Evicted, SeriesPoint

SLOT_S = 60
KEEP_SLOTS = 24 * 60
_HOUR_S = 3600  # a slot of the latencies; a day of them is kept, and looked back on
_KEEP_HOURS = 24
_FLUSH_EVERY_S = 2.0
_Key = TypeVar("_Key", bound=Hashable)

_IN_SERIES = frozenset(
    {
        *("hits_l1", "hits_l2", "equivalent_l1", "equivalent_l2", "collapsed", "misses"),
        *("bypasses", "saved_s"),
    }
)
_WHOLE = (
    *("hits_l1", "hits_l2", "equivalent_l1", "equivalent_l2", "collapsed", "misses", "bypasses"),
    *("stored", "refused", "dropped_writes", "saved_tokens"),
    *("audited", "mismatched", "audited_remote", "drifted", "unaudited"),
)

_ADD_COUNTER = (
    "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
    " DO UPDATE SET value = value + excluded.value"
)
_ADD_SLOT = (
    "INSERT INTO slots VALUES (?, ?, ?) ON CONFLICT (slot, name)"
    " DO UPDATE SET value = value + excluded.value"
)
_ADD_LATENCY = (
    "INSERT INTO latencies VALUES (?, ?, ?, ?) ON CONFLICT (hour, name, bucket)"
    " DO UPDATE SET count = count + excluded.count"
)
_READ_LATENCIES = (
    "SELECT * FROM latencies WHERE hour >= ? AND typeof(bucket) = 'integer'"
    " AND bucket BETWEEN -1000 AND 1000"
)
_LARGEST = 2**60  # of a count


@dataclass(frozen=True, slots=True)
class Totals:
    """All that was counted since the file was made, unflushed counts included.

    `latencies` are counts by bucket (see `histogram`) over the last day.
    """

    counters: Mapping[str, float]
    series: tuple[SeriesPoint, ...]
    latencies: Mapping[str, Mapping[int, float]]


@dataclass(slots=True)
class _Counts:
    """What one process counted since it last wrote. Every part only adds up."""

    counters: dict[str, float] = field(default_factory=dict)
    slots: dict[tuple[int, str], float] = field(default_factory=dict)
    latencies: dict[tuple[int, str, int], float] = field(default_factory=dict)

    def update(self, other: _Counts) -> None:
        _add(self.counters, other.counters)
        _add(self.slots, other.slots)
        _add(self.latencies, other.latencies)

    def forget(self, first_slot: int, first_hour: int) -> None:
        """Leave out what would not be kept: memory stays bounded while nothing can be written."""
        self.slots = {key: n for key, n in self.slots.items() if key[0] >= first_slot}
        self.latencies = {key: n for key, n in self.latencies.items() if key[0] >= first_hour}


class StatsRecorder:
    """Adds in memory; a thread writes the differences to the database now and then."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], float] = time.time,
        gather: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`gather` tells what else to add: what was counted elsewhere since its last call."""
        self._database = database
        self._now = now
        self._gather = gather
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # so that nobody reads while counts are in neither place
        self._unwritten = _Counts()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_often, name="stats", daemon=True)
        self._writer.start()

    def add(self, **amounts: float) -> None:
        """Add to counters by name; the outcomes of lookups enter the time series too."""
        slot = int(self._now() // SLOT_S)
        with self._lock:
            counters, slots = self._unwritten.counters, self._unwritten.slots
            for name, amount in amounts.items():
                counters[name] = counters.get(name, 0) + amount
                if name in _IN_SERIES:
                    slots[slot, name] = slots.get((slot, name), 0) + amount

    def took(self, what: str, seconds: float) -> None:
        """One duration, for the percentiles."""
        key = (int(self._now() // _HOUR_S), what, bucket(seconds))
        with self._lock:
            latencies = self._unwritten.latencies
            latencies[key] = latencies.get(key, 0) + 1

    def totals(self, minutes: int = 60) -> Totals:
        """What was counted; the series covers the last `minutes`, empty slots included."""
        self.add(**self._gather())
        newest = int(self._now() // SLOT_S)
        oldest, first_hour = newest - minutes + 1, self._first_hour()
        with self._flushing:
            counts = self._written(oldest, first_hour)
            with self._lock:
                counts.update(self._unwritten)
        latencies: dict[str, dict[int, float]] = {}
        for (_, what, number), count in counts.latencies.items():
            _add(latencies.setdefault(what, {}), {number: count})
        series = tuple(_point(slot, counts.slots) for slot in range(oldest, newest + 1))
        return Totals(counts.counters, series, latencies)

    def report(self) -> CacheStats:
        """The totals as the panel shows them; what the stores hold is for the caller to add."""
        totals = self.totals()
        count = totals.counters
        lookups, writes = (totals.latencies.get(what, {}) for what in ("lookup", "write"))
        whole = {name: int(count.get(name, 0)) for name in _WHOLE}
        return CacheStats(
            **whole,
            mismatch_bound=upper_bound(whole["mismatched"], whole["audited"]),
            errors=int(count.get("corrupt", 0)),
            evicted={reason: int(count.get(f"evicted_{reason}", 0)) for reason in Evicted},
            saved_s=float(count.get("saved_s", 0)),
            saved_busy_s=float(count.get("saved_busy_s", 0)),
            lookup_p50_s=percentile(lookups, 0.5),
            lookup_p95_s=percentile(lookups, 0.95),
            lookup_p99_s=percentile(lookups, 0.99),
            write_p50_s=percentile(writes, 0.5),
            write_p95_s=percentile(writes, 0.95),
            series=totals.series,
        )

    def flush(self) -> None:
        """Write what is not written yet; what cannot be written is kept for the next time."""
        self.add(**self._gather())
        with self._flushing:
            with self._lock:
                counts, self._unwritten = self._unwritten, _Counts()
            if not counts.counters and not counts.latencies:
                return
            if not self._write(counts):
                counts.forget(self._first_slot(), self._first_hour())
                with self._lock:
                    self._unwritten.update(counts)

    def close(self) -> None:
        self._closing.set()
        self._writer.join()
        self.flush()

    def _written(self, oldest: int, first_hour: int) -> _Counts:
        read = self._database.read
        slots = read("SELECT slot, name, value FROM slots WHERE slot >= ?", (oldest,))
        latencies = read(_READ_LATENCIES, (first_hour,))
        return _Counts(
            dict(filter(_sound, read("SELECT name, value FROM counters"))),
            {(slot, name): value for slot, name, value in filter(_sound, slots)},
            {(hour, what, n): count for hour, what, n, count in filter(_sound, latencies)},
        )

    def _write(self, counts: _Counts) -> bool:
        return self._database.write(
            [
                (_ADD_COUNTER, list(counts.counters.items())),
                (_ADD_SLOT, [(*key, value) for key, value in counts.slots.items()]),
                (_ADD_LATENCY, [(*key, count) for key, count in counts.latencies.items()]),
                ("DELETE FROM slots WHERE slot < ?", [(self._first_slot(),)]),
                ("DELETE FROM latencies WHERE hour < ?", [(self._first_hour(),)]),
            ]
        )

    def _first_slot(self) -> int:
        return int(self._now() // SLOT_S) - KEEP_SLOTS + 1

    def _first_hour(self) -> int:
        return int(self._now() // _HOUR_S) - _KEEP_HOURS + 1

    def _write_often(self) -> None:
        while not self._closing.wait(_FLUSH_EVERY_S):
            self.flush()


def _sound(row: tuple[Any, ...]) -> bool:
    """Whether a row can be added up; its columns take values of any type."""
    *_, amount = row
    return type(amount) in (int, float) and 0 <= amount <= _LARGEST


def _add(into: dict[_Key, float], amounts: Mapping[_Key, float]) -> None:
    for key, amount in amounts.items():
        into[key] = into.get(key, 0) + amount


def _point(slot: int, counts: Mapping[tuple[int, str], float]) -> SeriesPoint:
    def whole(*names: str) -> int:
        return int(sum(counts.get((slot, name), 0) for name in names))

    return SeriesPoint(
        start=float(slot * SLOT_S),
        width_s=SLOT_S,
        hits=whole("hits_l1", "hits_l2"),
        misses=whole("misses"),
        equivalent=whole("equivalent_l1", "equivalent_l2"),
        collapsed=whole("collapsed"),
        bypasses=whole("bypasses"),
        saved_s=float(counts.get((slot, "saved_s"), 0)),
    )
