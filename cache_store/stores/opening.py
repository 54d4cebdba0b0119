"""A store by its URL. The module of a kind is imported when a store of that kind is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cache_store.errors import UnknownStore
from cache_store.stores.base import Store
from cache_store.stores.memory import MemoryStore

HELP = "give memory:, disk:PATH or redis://HOST:PORT/DB"


def open_store(url: str, max_bytes: int = 2**30, *, repair: bool = True) -> Store:
    """`memory:`, `disk:PATH`, or `redis://...` (also `rediss://` and `unix://`).

    `max_bytes` is the budget of memory and disk; a server has its own. Raises UnknownStore, and
    StoreUnavailable for a directory that cannot be used. A server need not be there yet. Without
    `repair` a damaged directory is one that cannot be used; else it is begun anew.
    """
    kind, colon, _ = url.partition(":")
    if not colon or kind not in _KINDS:
        raise UnknownStore(f"{_shown(url)!r} names no store: {HELP}")
    return _KINDS[kind](url, max_bytes, repair)


def _memory(url: str, max_bytes: int, repair: bool) -> Store:
    if url != "memory:":
        raise UnknownStore(f"{url!r} names no store: memory: takes nothing after it")
    return MemoryStore(max_bytes)


def _disk(url: str, max_bytes: int, repair: bool) -> Store:
    from cache_store.stores.disk import DiskStore

    path = url.removeprefix("disk:")
    if not path:
        raise UnknownStore("disk: needs a folder after it: disk:PATH")
    return DiskStore(Path(path).expanduser(), max_bytes, repair=repair)


def _redis(url: str, max_bytes: int, repair: bool) -> Store:
    try:
        from cache_store.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        raise UnknownStore(f"{error.name} is not installed: run pip install redis") from error
    try:
        return RedisStore(url)
    except (ValueError, TypeError) as error:
        raise UnknownStore(f"{_shown(url)!r} cannot be used ({error}): {HELP}") from error


def _shown(url: str) -> str:
    """Without what may be a password."""
    return url if "@" not in url else f"{urlsplit(url).scheme}://...@{url.rpartition('@')[2]}"


_KINDS: Mapping[str, Callable[[str, int, bool], Store]] = {
    "memory": _memory,
    "disk": _disk,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
}
