"""Filling stores, and asking them from many threads and processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from cache_store.cache import ResponseCache
from cache_store.database import Database
from cache_store.stores.base import Store, Stored
from cache_store.stores.disk import DiskStore
from cache_store.stores.memory import MemoryStore
from cache_store.stores.opening import open_store
from cache_store.stores.redis import RedisStore
from cache_store.stores.tiered import TieredStore
from cache_store.stores.write_behind import WriteBehind
from cache_store.types import Hit
from tests.benchmarks.entries import make

BUDGET = 2**33
_BATCH = 5_000


def fill(store: Store, entries: Iterator[tuple[str, Stored]]) -> None:
    """Keep them all by the store's own `put`, many of them at once."""
    while batch := list(islice(entries, _BATCH)):
        with _at_once(store):
            for name, stored in batch:
                store.put(name, stored)


@contextmanager
def _at_once(store: Store) -> Iterator[None]:
    """One transaction of the disk store, one pipeline of Redis, instead of one for each entry."""
    if isinstance(store, DiskStore):
        store._rows._sql("PRAGMA cache_size = -2000000").fetchall()  # of this connection only
        with store._rows.transact():
            yield
    elif isinstance(store, RedisStore):
        client = store._client
        with client.pipeline(transaction=False) as pipe:
            store._client = pipe
            yield
            store._client = client
            pipe.execute()
    else:
        yield


def cache_over(store: Store) -> ResponseCache:
    """As `open_cache` sets it up: memory before a store, or that store alone where it is memory."""
    if isinstance(store, MemoryStore):
        return ResponseCache(TieredStore(store, None), Database(None))
    tiers = MemoryStore(BUDGET), WriteBehind(store)
    return ResponseCache(TieredStore(*tiers), Database(None))


def in_threads(ask: Callable[[int], object], threads: int, seconds: float) -> float:
    """Calls per second of `ask(n)`, n counting up in each thread from a place of its own."""
    counts = [0] * threads
    ready = threading.Barrier(threads)

    def work(place: int) -> None:
        number = place * 7919
        ready.wait()
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            ask(number)
            number += 1
            counts[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


def in_processes(url: str, what: str, asked: int, processes: int, seconds: float) -> float:
    """Hits per second of processes that share a store, by `get` or by whole `lookup`s of what is
    in the memory of each."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _remember, (context.Barrier(processes),)) as pool:
        jobs = [(url, what, asked, seconds)] * processes
        return sum(pool.starmap(_hits_per_s, jobs, chunksize=1))


_ready: list[Any] = []  # the barrier of this process; it cannot be an argument of a job


def _remember(ready: Any) -> None:
    _ready.append(ready)


def _hits_per_s(url: str, what: str, asked: int, seconds: float) -> float:
    wanted = [make(number) for number in range(asked)]
    store = open_store(url, BUDGET)
    cache = cache_over(store)
    for one in wanted:
        assert isinstance(cache.lookup(one.query), Hit)
    _ready[0].wait()
    if what == "get":
        rate = in_threads(lambda n: store.get(wanted[n % asked].name), 1, seconds)
    else:
        rate = in_threads(lambda n: cache.lookup(wanted[n % asked].query), 1, seconds)
    cache.close()
    return rate
