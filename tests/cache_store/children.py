"""Processes of their own that tests harm: `python -m tests.cache_store.children ROLE DIRECTORY`.

What they keep under a number is always the same: whoever finds it knows whether it is right.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from random import Random

from cache_store import codec
from cache_store.cache import ResponseCache, open_cache
from cache_store.keys import make_key
from cache_store.stores.write_behind import WriteBehind
from cache_store.types import CachePolicy, CacheQuery, Hit, ImagePart
from tests.cache_store.samples import CAT, ROOT, answer, asked

NUMBERS = 60


@lru_cache(NUMBERS)
def question(number: int) -> CacheQuery:
    return asked(ImagePart(CAT), f"What is it, number {number}?")


@lru_cache(NUMBERS)
def text(number: int) -> str:
    """Of some length; each tenth is too long for the database and gets a file."""
    length = 40_000 if number % 10 == 3 else 100 + 60 * number
    return f"{number} " + Random(number).randbytes(length).hex()


def keep(cache: ResponseCache, number: int) -> bool:
    return cache.store(question(number), answer(text=text(number))) is not None


def served(cache: ResponseCache, number: int) -> bool:
    """Whether the answer is served, and then the right one."""
    found = cache.lookup(question(number))
    if not isinstance(found, Hit):
        return False
    assert found.entry.answer.text == text(number), "a wrong answer"
    return True


def settle(cache: ResponseCache) -> None:
    """Until everything is written, or refused."""
    assert isinstance(cache._store._l2, WriteBehind)
    assert cache._store._l2.flush(20)


def forget_memory(cache: ResponseCache) -> None:
    """From now on answers come from the store behind memory."""
    cache._store._l1.clear()


@contextmanager
def started(
    role: str, *arguments: object, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A process in that role; `before` is a command that runs it."""
    command = [*before, sys.executable, "-m", "tests.cache_store.children", role]
    command += map(str, arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # for a test that failed; else it has ended


def small_disk(folder: Path) -> list[str] | None:
    """A command that runs others with 16 MiB mounted there, for them only; None where it cannot."""
    mount = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
    command = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c", mount, str(folder)]
    try:
        subprocess.run([*command, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return command


# --- roles -------------------------------------------------------------------------------------


def killed(directory: str, rounds: str) -> None:
    """Again and again: a writer is killed at a random moment, then what it left is looked at."""
    chance = Random(rounds)
    for number in range(int(rounds)):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _write_for_ever(Path(directory), writer, Random(number))
        if number % 4:  # else it is killed while it opens the files
            os.read(reader, 1)
        time.sleep(chance.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
        print(_look_through(Path(directory)), flush=True)


def _write_for_ever(directory: Path, ready: int, chance: Random) -> None:
    cache = open_cache(directory)
    os.write(ready, b"x")
    while True:
        keep(cache, chance.randrange(NUMBERS))
        if chance.random() < 0.2:  # else this thread leaves little to the one that writes
            settle(cache)


def _look_through(directory: Path) -> int:
    """How many answers there are; all of them are right, and one is kept anew."""
    cache = open_cache(directory)
    names = list(cache.names())
    for name in names:
        stored = cache.read(name)
        assert stored is not None
        entry = codec.load(stored.value)
        about = int(entry.answer.text.split()[0])
        assert (entry.material, entry.answer.text) == (make_key(question(about))[1], text(about))
    assert sum(served(cache, n) for n in range(NUMBERS)) == len(names)
    assert keep(cache, 0)
    assert served(cache, 0)
    cache.close()
    assert not list(directory.rglob("*damaged*")), "a kill damages nothing"
    return len(names)


def told_to_end(directory: str) -> None:
    """Keep answers, and end as the server does when it is told to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cache = open_cache(Path(directory))
    try:
        for number in range(NUMBERS):
            keep(cache, number)
        print("kept", flush=True)
        signal.pause()
    finally:
        cache.close()


def without_room(directory: str, how: str) -> None:
    """Fill the disk, go on, then go on with room again. Prints how many are kept in the end."""
    logging.basicConfig(level=logging.WARNING)
    cache = open_cache(Path(directory), CachePolicy(memory_max_bytes=0))
    keep(cache, 0)
    settle(cache)
    make_room = _limit_files() if how == "limit" else _ballast(Path(directory).parent)
    for number in range(NUMBERS):
        keep(cache, number)
        settle(cache)
        served(cache, number)
    assert served(cache, 0)
    missing = [number for number in range(NUMBERS) if not served(cache, number)]
    assert missing, "there was room for all of them"
    make_room()
    for number in missing:
        keep(cache, number)
    settle(cache)
    print(sum(served(cache, number) for number in range(NUMBERS)))
    cache.close()


def _limit_files() -> Callable[[], None]:
    """No file may grow past 256 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _ballast(folder: Path) -> Callable[[], None]:
    """What takes most of a small disk, until it is removed."""
    file = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    file.write_bytes(bytes(free - 2**20))
    return file.unlink


def obedient(directory: str) -> None:
    """Do what is read: `keep N`, `served N`, `forget TAG`; answer each line by one."""
    cache = open_cache(Path(directory))
    for line in sys.stdin:
        match line.split():
            case ["keep", number]:
                kept = keep(cache, int(number))
                settle(cache)
                print(kept, flush=True)
            case ["served", number]:
                print(served(cache, int(number)), flush=True)
            case ["forget", tag]:
                print(cache.forget(tag), flush=True)
    cache.close()


ROLES: dict[str, Callable[..., None]] = {
    role.__name__: role for role in (killed, told_to_end, without_room, obedient)
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:])
