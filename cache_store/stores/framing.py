"""A stored value as one string of bytes, for stores that keep nothing but strings.

Layout: magic (4) | BLAKE2b-128 of the name and all that follows (16) | length of the head (4, big
endian) | head: JSON [expires_at, cost_s, tags...] | value.
"""

from __future__ import annotations

import hashlib
import json

from cache_store.errors import CorruptEntry
from cache_store.stores.base import Stored

_MAGIC = b"QCR1"
_BODY = len(_MAGIC) + 16
_START = _BODY + 4
_LARGEST = 2.0**50  # seconds


def frame(name: str, stored: Stored) -> bytes:
    """The bytes to keep under a name."""
    head = json.dumps([stored.expires_at, stored.cost_s, *stored.tags]).encode()
    body = len(head).to_bytes(4, "big") + head + stored.value
    return _MAGIC + _checksum(name, body) + body


def unframe(name: str, data: object) -> Stored:
    """What `frame` was given. Raises CorruptEntry for anything else: another name's bytes, or a
    number where a server speaks nonsense."""
    if not isinstance(data, bytes):
        raise CorruptEntry("a value that is no bytes was refused")
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : _BODY] != _checksum(name, data[_BODY:]):
        raise CorruptEntry("a value that is no entry of this name was refused")
    end = head_end(data)
    try:
        expires_at, cost_s, *tags = json.loads(data[_START:end])
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptEntry(f"a value whose head is not ours was refused: {error}") from error
    numbers = all(type(n) in (int, float) and abs(n) <= _LARGEST for n in (expires_at, cost_s))
    if not numbers or not all(type(tag) is str for tag in tags) or end > len(data):
        raise CorruptEntry("a value whose head says something else was refused")
    return Stored(data[end:], expires_at, tuple(tags), cost_s)


def head_end(data: bytes) -> int:
    """Where the value begins; what is kept may be read up to there to know its tags."""
    return _START + int.from_bytes(data[_BODY:_START], "big")


def tags_in(data: bytes) -> tuple[str, ...]:
    """The tags, from the beginning of a framed value; none when it is not one. Not verified."""
    try:
        return tuple(json.loads(data[_START : head_end(data)])[2:])
    except (ValueError, TypeError, LookupError, RecursionError):
        return ()


def _checksum(name: str, body: bytes) -> bytes:
    named = len(name.encode()).to_bytes(4, "big") + name.encode()
    return hashlib.blake2b(named + body, digest_size=16).digest()
