"""Whatever happens to what lies behind the cache: a lookup is a miss or the right answer, never an
exception, and storing goes on. What the stores themselves say to it is tested beside them.

`children.served` fails on a wrong answer.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cache_store.cache import ResponseCache, open_cache
from cache_store.stores.disk import DiskStore
from cache_store.tags import image_tag
from cache_store.types import CachePolicy
from tests.cache_store.children import (
    NUMBERS,
    forget_memory,
    keep,
    question,
    served,
    settle,
    small_disk,
    started,
    text,
)
from tests.cache_store.samples import CAT, answer
from tests.cache_store.stores.redis_server import GARBAGE, RedisServer, nonsense_server

NO_MEMORY = CachePolicy(memory_max_bytes=0)  # every answer comes from behind it


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def read_all(cache: ResponseCache) -> int:
    """How many are served; none of them wrong."""
    return sum(served(cache, number) for number in range(NUMBERS))


def keep_all(cache: ResponseCache) -> None:
    for number in range(NUMBERS):
        assert keep(cache, number)
    settle(cache)


# --- processes ---------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_process_killed_in_the_middle_of_writes_leaves_right_answers_and_a_sound_file(
    tmp_path: Path, repetitions: Callable[[int], int]
) -> None:
    rounds = repetitions(200)
    with started("killed", tmp_path, rounds) as child:
        told, errors = child.communicate(timeout=590)
    assert errors == ""
    found = [int(line) for line in told.split()]
    assert len(found) == rounds
    assert max(found) > 1  # the one that was kept after each kill is not all


def test_a_process_that_is_told_to_end_writes_what_is_pending(tmp_path: Path) -> None:
    with started("told_to_end", tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "kept\n"
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, "")
    cache = open_cache(tmp_path)
    assert read_all(cache) == NUMBERS
    cache.close()


class Other:
    """Another process with the same directory, which does as it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def test_two_processes_share_what_they_keep_and_what_they_forget(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    with started("obedient", tmp_path) as process:
        other = Other(process)
        for number in range(0, NUMBERS, 2):
            other.say(f"keep {number + 1}")
            assert keep(cache, number)
        assert {other.hear() for _ in range(0, NUMBERS, 2)} == {"True"}
        settle(cache)
        assert read_all(cache) == NUMBERS
        assert other.tell("served 0") == "True"
        assert read_all(cache) == NUMBERS  # in memory
        assert keep(cache, 0)  # and perhaps still on its way
        assert int(other.tell(f"forget {image_tag(CAT)}")) >= NUMBERS - 1
        assert read_all(cache) == 0
        assert other.tell("keep 5") == "True"
        assert served(cache, 5)
        assert cache.forget(image_tag(CAT)) == 1
        assert other.tell("served 5") == "False"
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    cache.close()


# --- the file ----------------------------------------------------------------------------------


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3 + 100)


def zero_the_middle(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 4)
        opened.write(bytes(size // 2))


def write_garbage(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xa5" * file.stat().st_size)


def remove_the_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize(
    "harm", [truncate, zero_the_middle, write_garbage, Path.unlink, remove_the_folder]
)
def test_a_file_harmed_while_it_is_open_costs_answers_and_nothing_else(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    cache = open_cache(tmp_path, NO_MEMORY)
    keep_all(cache)
    disk = cache._store._l2._inner  # type: ignore[union-attr]
    assert isinstance(disk, DiskStore)
    disk._rows._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # all in the file now
    disk._rows._sql("PRAGMA shrink_memory").fetchall()
    harm(tmp_path / "answers" / "cache.db")
    assert read_all(cache) < NUMBERS
    for _ in range(2):  # a broken page may be met by the first of these, and it costs the others
        keep_all(cache)
    assert read_all(cache) == NUMBERS
    cache.close()
    cache = open_cache(tmp_path, NO_MEMORY)
    assert read_all(cache) == NUMBERS
    cache.close()


@pytest.mark.parametrize(
    ("how", "told"), [("limit", "disk I/O error"), ("ballast", "database or disk is full")]
)
def test_a_disk_without_room_stops_storing_and_nothing_else(
    tmp_path: Path, how: str, told: str
) -> None:
    before = small_disk(tmp_path) if how == "ballast" else []
    if before is None:
        pytest.skip("no small disk can be mounted here")
    with started("without_room", tmp_path / "cache", how, before=before) as child:
        kept, errors = child.communicate(timeout=100)
    assert (child.returncode, kept.strip()) == (0, str(NUMBERS)), errors
    assert told in errors  # the reason itself; SQLite says I/O error where a file may not grow


# --- the server --------------------------------------------------------------------------------


def is_back(cache: ResponseCache) -> bool:
    """Whether an answer comes from behind memory."""
    keep(cache, 0)
    settle(cache)
    forget_memory(cache)
    return served(cache, 0)


def test_a_server_that_dies_or_hangs_leaves_memory_and_is_used_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    cache = open_cache(tmp_path, store=redis_server.url)
    until(lambda: is_back(cache))
    for stop, go_on in (
        (redis_server.kill, redis_server.start),  # it comes back empty
        (redis_server.pause, redis_server.go_on),
    ):
        keep_all(cache)
        stop()
        assert served(cache, 1), "it is in memory"
        began = time.monotonic()
        forget_memory(cache)
        assert read_all(cache) == 0
        keep_all(cache)
        assert read_all(cache) == NUMBERS
        assert time.monotonic() - began < 10  # 300 waits of 50 ms would be more
        go_on()
        until(lambda: is_back(cache))
        read_all(cache)
    keep_all(cache)
    forget_memory(cache)
    assert read_all(cache) == NUMBERS
    cache.close()


def test_what_waits_for_a_server_that_came_back_empty_is_not_written(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    cache = open_cache(tmp_path, store=redis_server.url)
    until(lambda: is_back(cache))
    missed = cache.bypass(question(1))
    redis_server.kill()
    redis_server.start()
    time.sleep(0.6)  # a generation may be believed for half a second
    until(lambda: cache.bypass(question(1)).generation not in (None, missed.generation))
    late = answer(text=text(1))
    assert cache.store(question(1), late, generation=missed.generation) is None
    cache.close()


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_server_that_answers_garbage_is_not_believed(tmp_path: Path, garbage: bytes) -> None:
    with nonsense_server(garbage) as port:
        cache = open_cache(tmp_path, store=f"redis://127.0.0.1:{port}/0")
        for number in range(5):
            assert not served(cache, number)
            keep(cache, number)
            served(cache, number)
        forget_memory(cache)
        settle(cache)
        assert not any(served(cache, number) for number in range(5))
        cache.stats()
        cache.close()
