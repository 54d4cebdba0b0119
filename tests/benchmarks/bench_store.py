"""What the stores cost at ten thousand, a hundred thousand and a million entries.

    python -m tests.benchmarks.bench_store [--quick] [--json]

The entries are those of `entries.py`: answers of 500 to 1,000 characters as the codec writes them.
A store is filled by its own `put`, 5,000 in one transaction (disk) or one pipeline (Redis). Then,
each alone and over names that lie anywhere in the store, microseconds as median / 99 %:

    get, absent     a name that is kept, one that is not
    put             one more entry
    cold get        `get` after the system was told to drop the file from its memory
    lookup L2       a whole `ResponseCache.lookup`: key, both tiers, decode, compare, count
    lookup L1       the same for 1,000 questions that repeat, now that their answers are in memory
    locate L1       the part of it in the stores: was anything forgotten, and the answer's bytes

Time in which other programs held the cores is left out (see `_scheduler`; a server's is not),
and a percentile is the median of those of 20 blocks. What it takes to keep the entries: `MB`
(memory: of this process, disk: its files, Redis: of the server), milliseconds to open the store,
and the same after its file was dropped as above.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from shutil import which
from typing import Any, NamedTuple

from cache_store.cache import ResponseCache
from cache_store.stores.base import Store
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.types import Hit, Tier
from tests.benchmarks.entries import Asked, entries, fresh
from tests.benchmarks.reporting import Goal, arguments, conclude, machine, table, timed_ms
from tests.benchmarks.store_load import BUDGET, cache_over, fill, in_processes, in_threads
from tests.cache_store.stores.redis_server import RedisServer

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (1_000, 10_000)
_BLOCKS = 20
_HOT = 1_000  # questions that repeat; the cache remembers as many folded
_COLD = 500  # names that are asked for while the file is not in memory

Row = dict[str, Any]


def main() -> int:
    options = arguments("what the stores cost, by the number of entries")
    sizes = QUICK_SIZES if options.quick else SIZES
    asked, seconds = (400, 0.5) if options.quick else (5_000, 3.0)
    print("machine:", machine())
    rows: list[Row] = []
    rates: list[Row] = []
    for kind, place in {"memory": _memory, "disk": _folder, "redis": _server}.items():
        if kind == "redis" and which("redis-server") is None:
            print("skipped: Redis, since there is no redis-server here")
            continue
        for size in sizes:
            with place() as url:
                store, wanted, kept = _filled(url, size, asked)
                calls = _calls(url, store, wanted)
                cache = cache_over(store)
                calls |= _lookups(cache, wanted, memory_only=kind == "memory")
                rows.append({"store": kind, "entries": size} | kept | calls)
                print(rows[-1], file=sys.stderr, flush=True)  # the rest takes minutes
                if size == sizes[-1]:
                    rates += _rates(kind, url, store, cache, wanted, seconds)
                cache.close()
    print(table(_even(rows)))
    print(f"\nhits per second at {sizes[-1]} entries\n" + table(_even(rates)))
    return conclude(_goals(rows), options.json, stores=rows, hits_per_s=rates)


def _goals(rows: list[Row]) -> list[Goal]:
    disk = [row for row in rows if row["store"] == "disk"]
    small, large = disk[0], disk[-1]
    grown = large["get"].p99 / small["get"].p99
    return [
        Goal("disk, 99 % of a get at the largest size", large["get"].p99, 1000, "µs"),
        Goal("disk, the same over the smallest size", grown, 5, "x"),
        Goal("disk, 99 % of a lookup at the largest size", large["lookup L2"].p99, 1000, "µs"),
        Goal("disk, cold opening at the largest size", large["cold open ms"], 1000, "ms"),
        Goal("a hit in memory before disk, in the stores", large["locate L1"].p50, 50, "µs"),
        Goal("a hit in memory before disk, whole lookup", large["lookup L1"].p50, 50, "µs"),
    ]


def _even(rows: list[Row]) -> list[Row]:
    """All with the columns of all."""
    heads = dict.fromkeys(head for row in rows for head in row)
    return [{head: row.get(head, "") for head in heads} for row in rows]


# --- one store of one size ---------------------------------------------------------------------


def _filled(url: str, size: int, asked: int) -> tuple[Store, list[Asked], Row]:
    """A store that was filled and opened anew, what to ask it for, and what it takes."""
    resident = _resident()
    wanted, everything = entries(size, asked)
    store = open_store(url, BUDGET)
    fill_ms = timed_ms(lambda: fill(store, everything))
    if isinstance(store, MemoryStore):
        return store, wanted, {"fill s": fill_ms / 1000, "MB": (_resident() - resident) / 2**20}
    _, size_bytes = store.size()
    store.close()
    cold = {}
    if (folder := _folder_of(url)) is not None:
        size_bytes = sum(file.stat().st_size for file in folder.rglob("*"))
        _drop_from_memory(folder)
        cold["cold open ms"] = timed_ms(lambda: open_store(url, BUDGET).close())
    open_ms = timed_ms(lambda: open_store(url, BUDGET).close())
    kept = {"fill s": fill_ms / 1000, "MB": size_bytes / 2**20, "open ms": open_ms}
    return open_store(url, BUDGET), wanted, kept | cold


def _calls(url: str, store: Store, wanted: list[Asked]) -> Row:
    names = [asked.name for asked in wanted]
    Random(1).shuffle(names)
    count = len(names)
    more = list(islice(fresh(0), count // 5))
    row = {}
    if (folder := _folder_of(url)) is not None:
        _drop_from_memory(folder)
        row["cold get"] = _blocks(lambda n: store.get(names[n]), min(_COLD, count))
    for name in names:
        assert store.get(name) is not None, "it was to be kept"
    row["get"] = _blocks(lambda n: store.get(names[n]), count)
    row["absent"] = _blocks(lambda n: store.get(names[n] + "?"), count)
    row["put"] = _blocks(lambda n: store.put(more[n].name, more[n].stored), len(more))
    return row


def _lookups(cache: ResponseCache, wanted: list[Asked], memory_only: bool) -> Row:
    queries = [asked.query for asked in wanted]
    Random(2).shuffle(queries)

    def look(number: int, tier: Tier) -> None:
        found = cache.lookup(queries[number])
        assert isinstance(found, Hit)
        assert found.tier is tier

    row = {}
    if not memory_only:
        row["lookup L2"] = _blocks(lambda n: look(n, Tier.L2), len(queries))
    hot = min(_HOT, len(queries))
    row["lookup L1"] = _blocks(lambda n: look(n % hot, Tier.L1), len(queries))
    row["locate L1"] = _blocks(lambda n: cache._store.locate(wanted[n].name), len(wanted))
    return row


def _rates(
    kind: str, url: str, store: Store, cache: ResponseCache, wanted: list[Asked], seconds: float
) -> list[Row]:
    """Hits per second, of `get` and of whole lookups in memory before the store."""
    count = len(wanted)
    asks: dict[str, Callable[[int], object]] = {
        "get": lambda n: store.get(wanted[n % count].name),
        "lookup": lambda n: cache.lookup(wanted[n % count].query),
    }
    rows = []
    for what, ask in asks.items():
        for number in range(count):
            ask(number)
        row: Row = {"store": kind, "of": what}
        for threads in (1, 4, 16):
            row[f"{threads} threads"] = in_threads(ask, threads, seconds)
        if kind != "memory":  # each process would have its own
            row["2 processes"] = in_processes(url, what, count, 2, seconds)
        rows.append(row)
    return rows


# --- timing ------------------------------------------------------------------------------------


class Spread(NamedTuple):
    """Microseconds."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.p50:.3g} / {self.p99:.3g}"


def _blocks(call: Callable[[int], object], count: int) -> Spread:
    """`call(n)` for n below `count`, in blocks."""
    medians, tails = [], []
    each = count // _BLOCKS
    with _scheduler() as held_off_ns:
        for first in range(0, each * _BLOCKS, each):
            taken = []
            for number in range(first, first + each):
                held_off, began = held_off_ns(), time.perf_counter_ns()
                call(number)
                took = time.perf_counter_ns() - began
                taken.append(took - (held_off_ns() - held_off))
            taken.sort()
            medians.append(taken[each // 2])
            tails.append(taken[int(each * 0.99)])
    return Spread(statistics.median(medians) / 1000, statistics.median(tails) / 1000)


@contextmanager
def _scheduler() -> Iterator[Callable[[], int]]:
    """Nanoseconds in which this thread could have run but other programs held the cores, so far;
    always 0 where the system does not tell."""
    try:
        handle = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield lambda: 0
        return
    try:
        yield lambda: int(os.pread(handle, 64, 0).split()[1])
    finally:
        os.close(handle)


# --- places ------------------------------------------------------------------------------------


@contextmanager
def _memory() -> Iterator[str]:
    yield "memory:"


@contextmanager
def _folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"disk:{folder}"


@contextmanager
def _server() -> Iterator[str]:
    server = RedisServer()
    try:
        yield f"{server.url}?socket_timeout=60"  # a pipeline takes longer than a request may
    finally:
        server.kill()


def _folder_of(url: str) -> Path | None:
    return Path(url.removeprefix("disk:")) if url.startswith("disk:") else None


def _drop_from_memory(folder: Path) -> None:
    for file in folder.rglob("*.*"):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)  # what is not written cannot be dropped
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _resident() -> int:
    """Bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    raise SystemExit(main())
