"""Key material read back: what an entry was asked, for people, packs and "why a miss?".

Nothing here is on the way of a lookup: that compares the material as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cache_store.errors import CorruptEntry
from cache_store.keys import VERSION, Encodable, make_key
from cache_store.types import CacheEntry, CacheQuery, ImagePart, MarkPart, Part, TextPart, Turn

_DEEPEST = 16  # lists in lists; material has six
_OTHER = (ValueError, TypeError, OverflowError)  # what bytes that are no material raise


def query_of(entry: CacheEntry) -> CacheQuery:
    """The query that an entry answers. Raises CorruptEntry, also for another key version."""
    try:
        query = _query(entry)
        material = make_key(query)[1]
    except CorruptEntry:
        raise
    except (*_OTHER, AttributeError, LookupError, StopIteration) as error:
        raise CorruptEntry(f"key material: {error}") from error
    if material != entry.material:  # whatever was read, it is what was asked
        raise CorruptEntry("key material does not read back")
    return query


def version_of(material: bytes) -> str:
    """The key version that material was made with; empty where that cannot be told."""
    try:
        value, _ = _read(material, 0)
    except _OTHER:
        return ""
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else ""


def decode(data: bytes) -> list[Encodable]:
    """The values of `keys.encode`, one after the other. Raises ValueError for other bytes."""
    values, at = [], 0
    while at < len(data):
        value, at = _read(data, at)
        values.append(value)
    return values


def _query(entry: CacheEntry) -> CacheQuery:
    if version_of(entry.material) != VERSION:
        raise CorruptEntry("key material of another version")
    _, scope, question = (_listed(value) for value in decode(entry.material))
    _, namespace, model, fingerprint, sampling, history, (role, shape) = scope
    texts = iter(question)
    return CacheQuery(
        model=model,
        fingerprint=fingerprint,
        turns=(*(_turn(turn) for turn in history), Turn(role, _last_parts(shape, texts))),
        sampling=dict(sampling),
        max_tokens=entry.max_tokens,
        namespace=namespace,
    )


def _listed(value: Encodable) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _turn(value: list[Any]) -> Turn:
    role, parts = value
    return Turn(role, tuple(_PARTS[kind](content) for kind, content in parts))


def _last_parts(shape: list[Any], texts: Iterator[str]) -> tuple[Part, ...]:
    """The texts of the question at their places between the other parts, which the scope has."""
    parts = [TextPart(next(texts)) if p[0] == "text" else _PARTS[p[0]](p[1]) for p in shape]
    return tuple(parts)  # not a generator: in one, too few texts would be a RuntimeError


_PARTS: dict[str, Callable[[str], Part]] = {
    "text": TextPart,
    "image": ImagePart,
    "mark": MarkPart,
}


def _read(data: bytes, at: int, depth: int = 0) -> tuple[Encodable, int]:
    """One value of `keys.encode` and where the next begins."""
    colon = data.index(b":", at, at + 22)
    kind, count = data[at : at + 1], data[at + 1 : colon]
    if kind in (b"l", b"m"):
        return _read_many(data, colon + 1, kind, int(count), depth + 1)
    end = colon + 1 + int(count or b"0")
    payload = data[colon + 1 : end]
    if len(payload) != end - colon - 1:
        raise ValueError("cut short")
    return _scalar(kind, payload), end


def _read_many(data: bytes, at: int, kind: bytes, count: int, depth: int) -> tuple[Encodable, int]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    values: list[Any] = []
    for _ in range(count if kind == b"l" else 2 * count):
        value, at = _read(data, at, depth)
        values.append(value)
    return (values, at) if kind == b"l" else (dict(zip(values[::2], values[1::2], strict=True)), at)


def _scalar(kind: bytes, payload: bytes) -> Encodable:
    match kind:
        case b"n":
            return None
        case b"b":
            return payload == b"1"
        case b"i":
            return int(payload)
        case b"f":
            return float.fromhex(payload.decode())
        case b"s":
            return payload.decode("utf-8", "surrogatepass")
    raise ValueError(f"unknown kind {kind!r}")
