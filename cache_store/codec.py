"""Entries as bytes: no pickle, a checksum over everything, compressed where it pays.

Layout: magic (4) | flags (1) | BLAKE2b-128 of all that follows (16) | body. The body, possibly
zlib-compressed, is: length of the material (4, big endian) | material | JSON of the rest.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict

from cache_store.errors import CorruptEntry
from cache_store.types import Answer, CacheEntry, FinishReason

_MAGIC = b"QCE1"
_PLAIN, _ZLIB = 0, 1
_COMPRESS_FROM = 1024  # bytes; below, zlib saves little and costs the hit
_MAX_BODY = 64 * 2**20  # bytes; no answer is near it, a bomb is beyond it
_HEAD = len(_MAGIC) + 1 + 16
_LARGEST = 2**50  # tokens or seconds; no answer says more, and every sum of them is a float
_OTHER = (ValueError, LookupError, TypeError, AttributeError, RecursionError)  # what was no entry


def dump(entry: CacheEntry) -> bytes:
    """The entry as bytes."""
    fields = {
        "model": entry.model,
        "max_tokens": entry.max_tokens,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "answer": asdict(entry.answer),
    }
    rest = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    body = len(entry.material).to_bytes(4, "big") + entry.material
    body += rest.encode("utf-8", "surrogatepass")
    flags = _PLAIN
    if len(body) >= _COMPRESS_FROM:
        flags, body = _ZLIB, zlib.compress(body, 1)
    return _MAGIC + bytes([flags]) + _checksum(flags, body) + body


def load(data: bytes) -> CacheEntry:
    """The entry of `dump`. Raises CorruptEntry for anything else."""
    try:
        return _load(data)
    except CorruptEntry:
        raise
    except (*_OTHER, zlib.error) as error:
        raise CorruptEntry(str(error)) from error


def _load(data: bytes) -> CacheEntry:
    if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEAD:
        raise CorruptEntry("not an entry")
    flags, body = data[len(_MAGIC)], data[_HEAD:]
    if _checksum(flags, body) != data[len(_MAGIC) + 1 : _HEAD]:
        raise CorruptEntry("checksum differs")
    if flags == _ZLIB:
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(body, _MAX_BODY)
        if unpacker.unconsumed_tail:
            raise CorruptEntry("larger than any entry")
    end = 4 + int.from_bytes(body[:4], "big")
    fields = json.loads(body[end:].decode("utf-8", "surrogatepass"))
    answer = fields.pop("answer")
    answer["finish_reason"] = FinishReason(answer["finish_reason"])
    return _typed(CacheEntry(material=body[4:end], answer=Answer(**answer), **fields))


def _typed(entry: CacheEntry) -> CacheEntry:
    """A checksum tells damage, not lies: what others wrote must not fail where it is used."""
    answer = entry.answer
    texts = (entry.model, answer.text, answer.thought)
    counts = (entry.max_tokens, answer.prompt_tokens, answer.completion_tokens)
    seconds = (
        *(entry.created_at, entry.expires_at),
        *(answer.first_token_s, answer.elapsed_s, answer.busy_s),
    )
    if not (
        all(type(text) is str for text in texts)
        and all(type(count) is int and 0 <= count <= _LARGEST for count in counts)
        and all(type(s) in (int, float) and 0 <= s <= _LARGEST for s in seconds)
    ):
        raise CorruptEntry("a field is of another type, or no answer can have it")
    return entry


def _checksum(flags: int, body: bytes) -> bytes:
    return hashlib.blake2b(bytes([flags]) + body, digest_size=16).digest()
