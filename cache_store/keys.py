"""The key: SHA-256 over everything the model sees, typed and length-prefixed.

Joined strings cannot tell ("ab", "c") from ("a", "bc"); here every field carries its type and its
length, so equal bytes mean equal fields.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cache_store.types import (
    CacheKey,
    CacheQuery,
    ImagePart,
    Part,
    Scalar,
    TextPart,
    Turn,
)

VERSION = "qwen3vl-key-1"
_REMEMBERED = 256  # of each kind of field that most queries of a server share

Encodable = Scalar | Sequence["Encodable"] | Mapping[str, "Encodable"]  # sequences: list, tuple


def make_key(query: CacheQuery) -> tuple[CacheKey, bytes]:
    """The key of a query, and the material it was made from (compared before serving)."""
    scope, question = _bytes(_scope(query)), _bytes(_question(query))
    key = CacheKey(
        prefix=_prefix(query),
        scope=hashlib.sha256(scope).hexdigest(),
        question=hashlib.sha256(question).hexdigest(),
    )
    return key, _OURS + scope + question


def encode(value: Encodable) -> bytes:
    """An injective encoding: type letter, length or count, payload. Lengths count bytes."""
    return _bytes(_spelled(value))


# --- values, spelled: many small texts and one `encode` are faster than many small bytes ---------


def _spelled(value: Encodable) -> str:
    spell = _BY_TYPE.get(type(value)) or _by_kind(value)
    return spell(value)


def _text(text: str) -> str:
    size = len(text) if text.isascii() else len(_bytes(text))
    return f"s{size}:" + text  # not in the braces: an enum would spell its name there


def _list(items: list[str]) -> str:
    return f"l{len(items)}:" + "".join(items)


def _mapping(items: Mapping[str, Encodable]) -> str:
    named = [_text(name) + _spelled(items[name]) for name in sorted(items)]
    return f"m{len(named)}:" + "".join(named)


def _number(number: float) -> str:
    """Of an int or a float, which differ also where they are equal."""
    kind, payload = ("f", number.hex()) if isinstance(number, float) else ("i", str(number))
    return f"{kind}{len(payload)}:{payload}"


_BY_TYPE: dict[type, Callable[[Any], str]] = {  # a `match` takes three times as long
    str: _text,
    float: _number,
    bool: lambda value: "b1:1" if value else "b1:0",
    int: _number,
    type(None): lambda _: "n0:",
    list: lambda items: _list([_spelled(item) for item in items]),
    tuple: lambda items: _list([_spelled(item) for item in items]),
    dict: _mapping,
    Mapping: _mapping,
}


def _by_kind(value: object) -> Callable[[Any], str]:
    """For subclasses."""
    for kind, spell in _BY_TYPE.items():  # bool is before int
        if isinstance(value, kind):
            return spell
    raise TypeError(f"{type(value).__name__} has no place in a key")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# --- a query, spelled: as `encode` spells lists of its fields ------------------------------------

_OURS = encode([VERSION])
_SOME_TEXT = _list([_text("text")])
_TEXT, _IMAGE, _MARK = (f"l2:{_text(kind)}" for kind in ("text", "image", "mark"))


def _scope(query: CacheQuery) -> str:
    """All but the texts of the last turn; its pictures, marks and their order are here."""
    *history, last = query.turns
    shape = [_SOME_TEXT if isinstance(p, TextPart) else _part(p) for p in last.parts]
    return (
        f"l7:{_model(VERSION, query.namespace, query.model, query.fingerprint)}"
        f"{_sampling(dict(query.sampling))}"
        f"{_list([_turn(turn) for turn in history])}{_list([_text(last.role), _list(shape)])}"
    )


def _question(query: CacheQuery) -> str:
    return _list([_text(part.text) for part in query.turns[-1].parts if isinstance(part, TextPart)])


@lru_cache(maxsize=_REMEMBERED)
def _model(*fields: str) -> str:
    """What most queries of a server share: version, namespace, model, fingerprint."""
    return "".join(map(_text, fields))


_sampled: dict[str, str] = {}


def _sampling(parameters: dict[str, Scalar]) -> str:
    """Spelled once for all who ask alike. By `repr`, which tells 1 from 1.0, True and 0.0 from -0.0
    as `==` does not."""
    written = repr(parameters)
    spelled = _sampled.get(written)
    if spelled is None:
        if len(_sampled) >= _REMEMBERED:
            _sampled.clear()
        spelled = _sampled[written] = _mapping(parameters)
    return spelled


def _turn(turn: Turn) -> str:
    return _list([_text(turn.role), _list([_part(part) for part in turn.parts])])


def _part(part: Part) -> str:
    if isinstance(part, ImagePart):  # a `match` takes four times as long
        return _IMAGE + _text(part.digest)
    return (_TEXT if isinstance(part, TextPart) else _MARK) + _text(part.text)


def _prefix(query: CacheQuery) -> str:
    """`qwen3vl:{model}:{last picture}`, for people who read a listing of keys."""
    pictures = [p.digest for turn in query.turns for p in turn.parts if isinstance(p, ImagePart)]
    return f"qwen3vl:{_readable(query.model)}:{pictures[-1][:12] if pictures else 'text'}"


@lru_cache(maxsize=_REMEMBERED)
def _readable(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)[-64:]
