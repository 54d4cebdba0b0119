"""What `python -m cache_store` does: one function a command, which returns the exit status."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from cache_store import codec
from cache_store.cache import ResponseCache
from cache_store.errors import CorruptEntry
from cache_store.images import decode, digest
from cache_store.keys import make_key
from cache_store.material import query_of
from cache_store.pack import Tally, adopt_all, export_pack, read_pack, verify_cache, verify_pack
from cache_store.places import Trouble, is_url, opened
from cache_store.stores.base import name_tag
from cache_store.tags import image_tag, model_tag, scope_tag

_MAX_PIXELS = 2**28
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HELD = ("entries", "stored_bytes")  # the figures that a store has of itself

Options = argparse.Namespace


def export(options: Options) -> int:
    with opened(options.cache) as cache, _written(options.archive) as file:
        tag = model_tag(options.model) if options.model else None
        tally = export_pack(cache, file, _sorted(cache, "exporting", tag), _refuse)
    return _told(tally, "exported")


def import_(options: Options) -> int:
    tally = Tally()
    with _read(options.archive) as file:
        entries = read_pack(file)  # before anything is made for it
        try:
            with opened(options.cache, must_exist=False) as cache:
                adopt_all(cache, entries, _refuse, tally)
        finally:  # what came before an archive's or a store's end is there
            became = ", ".join(f"{count} {how}" for how, count in sorted(tally.adopted.items()))
            status = _told(tally, "verified", became)
    return status


def verify(options: Options) -> int:
    if options.what != "-" and not Path(options.what).is_file():
        with opened(options.what) as cache:
            return _told(verify_cache(cache, _sorted(cache, "verifying"), _refuse), "sound")
    with _read(options.what) as file:
        return _told(verify_pack(file, _refuse), "sound")


def stats(options: Options) -> int:
    with opened(options.cache) as cache:
        stats = cache.stats()
    told = asdict(stats) | {"hit_rate": stats.hit_rate}
    if is_url(options.cache):  # what is counted lies in the directories of those who use it
        told = {name: told[name] for name in _HELD}
    if options.json:
        print(json.dumps(told))
    else:
        for name, value in _figures(told):
            print(f"{name:<28}{value:>14}")
    return 0


def stale(options: Options) -> int:
    with opened(options.cache) as cache:
        found = cache.stale(options.model, options.fingerprint)
    print(f"{found.stale} of {found.entries} answers of {options.model} become stale")
    return 0


def forget(options: Options) -> int:
    with opened(options.cache) as cache:
        if options.all:
            count = cache.clear()
        elif options.older_than is not None:
            count = cache.forget_older(options.older_than)
        else:
            count = sum(cache.forget(tag) for tag in _tags(cache, options))
    print(f"{count} forgotten")
    return 0


def _tags(cache: ResponseCache, options: Options) -> Sequence[str]:
    if options.picture:
        return [image_tag(_picture(options.picture))]
    if options.model:
        return [model_tag(options.model)]
    key = options.entry or options.scope
    if options.scope and _DIGEST.fullmatch(key):
        return [scope_tag(key)]
    names = [name for name in cache.names() if _is_under(cache, name, key)]
    if not names:
        raise Trouble(f"there is no entry {key}: give a key as the badge of an answer shows it")
    if options.entry:
        return [name_tag(name) for name in names]
    tags = {tag for name in names if (stored := cache.read(name)) for tag in stored.tags}
    return [tag for tag in tags if tag.startswith(scope_tag(""))]


def _is_under(cache: ResponseCache, name: str, key: str) -> bool:
    """Whether the entry of this name is the one with this key: under the key itself (and its
    length, where it was cut), or under the name that the wordings of its question share."""
    if name == key or name.startswith(f"{key}:"):
        return True
    stored = cache.read(name) if name.startswith(f"{key.rpartition(':')[0]}:") else None
    try:
        return stored is not None and str(make_key(query_of(codec.load(stored.value)))[0]) == key
    except CorruptEntry:
        return False


def _picture(given: str) -> str:
    if _DIGEST.fullmatch(given):
        return given
    try:
        data = Path(given).read_bytes()
    except FileNotFoundError:
        raise Trouble(
            f"{given} is neither a picture file nor a digest of 64 hexadecimal digits"
        ) from None
    return digest(decode(data, _MAX_PIXELS))


# --- what they share -----------------------------------------------------------------------------


@contextmanager
def _written(path: str) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all, readable by its owner alone; `-`: the output."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{path}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _read(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        size = Path(path).stat().st_size
        with tqdm.wrapattr(file, "read", size, desc="reading", disable=None) as followed:
            yield followed


def _sorted(cache: ResponseCache, doing: str, tag: str | None = None) -> Iterator[str]:
    """By name: the same entries give the same archive. With a bar, where somebody looks."""
    yield from tqdm(sorted(cache.names(tag)), desc=doing, unit="entry", disable=None)


def _refuse(which: str, why: str) -> None:
    tqdm.write(f"refused {which}: {why}", file=sys.stderr)


def _told(tally: Tally, done: str, more: str = "") -> int:
    told = f"{tally.good} {done}" + (f" ({more})" if more else "") + f", {tally.refused} refused"
    print(told, file=sys.stderr)
    return 1 if tally.refused else 0


def _figures(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "hit_rate" in told:
        yield "hit_rate", f"{told['hit_rate']:.1%}"
    for name, value in told.items():
        if name in ("series", "hit_rate") or name.startswith("memory_"):
            continue  # this process has no memory tier
        if name == "evicted":
            yield from ((f"evicted, {why}", str(count)) for why, count in value.items())
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
