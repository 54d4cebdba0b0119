"""The key: SHA-256 over everything the model sees, typed and length-prefixed.

Joined strings cannot tell ("ab", "c") from ("a", "bc"); here every field carries its type and its
length, so equal bytes mean equal fields.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import assert_never

from cache_store.types import (
    CacheKey,
    CacheQuery,
    ImagePart,
    MarkPart,
    Part,
    Scalar,
    TextPart,
    Turn,
)

VERSION = "qwen3vl-key-1"

Encodable = Scalar | Sequence["Encodable"] | Mapping[str, "Encodable"]  # sequences: list, tuple


def make_key(query: CacheQuery) -> tuple[CacheKey, bytes]:
    """The key of a query, and the material it was made from (compared before serving)."""
    scope, question = _scope_material(query), _question_material(query)
    key = CacheKey(
        prefix=_prefix(query),
        scope=hashlib.sha256(scope).hexdigest(),
        question=hashlib.sha256(question).hexdigest(),
    )
    return key, encode([VERSION]) + scope + question


def encode(value: Encodable) -> bytes:
    """An injective encoding: type letter, length or count, payload."""
    match value:
        case str():  # first, since most of what is encoded is text
            payload = value.encode("utf-8", "surrogatepass")
            return b"s%d:%s" % (len(payload), payload)
        case list() | tuple():  # asking for a Sequence costs ten times as much
            return b"l%d:" % len(value) + b"".join([encode(item) for item in value])
        case None:
            return b"n0:"
        case bool():
            return b"b1:1" if value else b"b1:0"
        case int():
            return _field(b"i", str(value).encode())
        case float():
            return _field(b"f", value.hex().encode())
        case Mapping():
            items = [encode(part) for name in sorted(value) for part in (name, value[name])]
            return b"m%d:" % len(value) + b"".join(items)
    raise TypeError(f"{type(value).__name__} has no place in a key")


def _field(kind: bytes, payload: bytes) -> bytes:
    return b"%s%d:%s" % (kind, len(payload), payload)


def _scope_material(query: CacheQuery) -> bytes:
    """All but the texts of the last turn; its pictures, marks and their order are here."""
    *history, last = query.turns
    shape = [["text"] if isinstance(p, TextPart) else _part(p) for p in last.parts]
    return encode(
        [
            VERSION,
            query.namespace,
            query.model,
            query.fingerprint,
            dict(query.sampling),
            [_turn(turn) for turn in history],
            [last.role, shape],
        ]
    )


def _question_material(query: CacheQuery) -> bytes:
    return encode([part.text for part in query.turns[-1].parts if isinstance(part, TextPart)])


def _turn(turn: Turn) -> Encodable:
    return [turn.role, [_part(part) for part in turn.parts]]


def _part(part: Part) -> list[Encodable]:
    match part:
        case TextPart(text):
            return ["text", text]
        case ImagePart(digest):
            return ["image", digest]
        case MarkPart(text):
            return ["mark", text]
        case _:
            assert_never(part)


def _prefix(query: CacheQuery) -> str:
    """`qwen3vl:{model}:{last picture}`, for people who read a listing of keys."""
    model = re.sub(r"[^A-Za-z0-9._-]+", "-", query.model)[-64:]
    pictures = [p.digest for turn in query.turns for p in turn.parts if isinstance(p, ImagePart)]
    return f"qwen3vl:{model}:{pictures[-1][:12] if pictures else 'text'}"
