"""Why a miss? The first field of the key that differs from the nearest kept entry.

Computed when somebody asks, never by a lookup: it reads some hundred entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import islice
from typing import assert_never

from cache_store import codec
from cache_store.errors import CorruptEntry
from cache_store.keys import VERSION, encode, make_key
from cache_store.material import query_of, version_of
from cache_store.stores.tiered import TieredStore
from cache_store.tags import tags_of
from cache_store.types import CacheEntry, CacheQuery, ImagePart, MarkPart, Part, TextPart, Turn

_LOOK_AT = 300  # entries read for one explanation
_PER_TAG = 150  # of them with one tag, so that a busy picture does not hide the model
_SHORT = 200  # characters of a text that are shown


class Field(StrEnum):
    """The fields of a key, in the order in which the first difference is looked for."""

    VERSION = "version"  # kept by another version of the key
    MODEL = "model"
    ENGINE = "engine"  # the same model in another build: weights, dtype, kernels, libraries
    SAMPLING = "sampling"
    HISTORY = "history"
    PICTURES = "pictures"  # other pixels, or another number of pictures
    ORDER = "order"  # the same parts, arranged in another way
    QUESTION = "question"
    EXPIRED = "expired"  # the same request, but its answer's time is up
    MAX_TOKENS = "max_tokens"  # the same request, but its answer has another length
    NOTHING = "nothing"  # by now it would be a hit


@dataclass(frozen=True, slots=True)
class Explanation:
    """`asked` and `kept` are the two values of `field`, in words; `also` what differs besides it.

    `name` and `age_s` are the nearest entry's; `looked_at` is how many entries were compared.
    """

    field: Field
    asked: str
    kept: str
    name: str
    age_s: float
    looked_at: int
    also: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    entry: CacheEntry
    query: CacheQuery | None  # None: of another key version
    differs: tuple[Field, ...]


def explain(
    query: CacheQuery,
    store: TieredStore,
    now: float,
    serves: Callable[[CacheEntry, int], bool],
    before: float | None = None,
) -> Explanation | None:
    """The nearest entry and what is different; None where nothing kept is near at all.

    Entries of another namespace are not looked at: who asked them is nobody else's business. With
    `before` neither are those of after that moment, when a lookup could not have found them.
    """
    near = [k for k in _near(query, store) if before is None or k.entry.created_at <= before]
    if not near:
        return None
    best = min(near, key=lambda kept: _distance(query, kept))
    age_s = max(0.0, now - best.entry.created_at)
    if best.query is None:
        kept = version_of(best.entry.material)
        return Explanation(Field.VERSION, VERSION, kept, best.name, age_s, len(near))
    field, *also = best.differs or [_of_equals(query, best.entry, now, serves)]
    asked, kept = _words(field, query, best)
    return Explanation(field, asked, kept, best.name, age_s, len(near), tuple(also))


def _near(query: CacheQuery, store: TieredStore) -> Iterator[_Kept]:
    """Entries that share the scope, a picture or the model, nearest tags first."""
    key, _ = make_key(query)
    *pictures, model, scope = tags_of(query, key)
    names: dict[str, None] = {}
    for tag in (scope, *pictures, model):
        names.update(dict.fromkeys(store.names(tag, _PER_TAG)))
    for name in islice(names, _LOOK_AT):
        kept = _read(query, store, name)
        if kept is not None:
            yield kept


def _read(query: CacheQuery, store: TieredStore, name: str) -> _Kept | None:
    try:
        stored = store.read(name)
        if stored is None:
            return None
        entry = codec.load(stored.value)
        if version_of(entry.material) != VERSION:
            if query.namespace:
                return None  # whose it is cannot be told
            return _Kept(name, entry, None, (Field.VERSION,))
        other = query_of(entry)
    except CorruptEntry:
        return None
    if other.namespace != query.namespace:
        return None
    differs = tuple(field for field, read in _READ.items() if read(query) != read(other))
    return _Kept(name, entry, other, differs)


def _distance(query: CacheQuery, kept: _Kept) -> tuple[float, ...]:
    """Few differences are near, late ones nearer, then like wording, then the newest."""
    if kept.query is None:
        return (len(Field), 0, 0, -kept.entry.created_at)
    first = list(Field).index(kept.differs[0]) if kept.differs else len(Field)
    texts = _question(query), _question(kept.query)
    unlike = 1 - SequenceMatcher(None, *texts, autojunk=False).quick_ratio()
    return (len(kept.differs), -first, unlike, -kept.entry.created_at)


def _of_equals(
    query: CacheQuery, entry: CacheEntry, now: float, serves: Callable[[CacheEntry, int], bool]
) -> Field:
    if entry.expires_at <= now:
        return Field.EXPIRED
    return Field.NOTHING if serves(entry, query.max_tokens) else Field.MAX_TOKENS


def _words(field: Field, query: CacheQuery, kept: _Kept) -> tuple[str, str]:
    assert kept.query is not None
    match field:
        case Field.NOTHING | Field.EXPIRED:
            return "", ""
        case Field.MAX_TOKENS:
            answer = kept.entry.answer
            return str(query.max_tokens), f"{answer.finish_reason}:{answer.completion_tokens}"
        case Field.SAMPLING:
            return _sampling_words(query, kept.query), _sampling_words(kept.query, query)
        case Field.HISTORY:
            return _history_words(query, kept.query), _history_words(kept.query, query)
        case _:
            return _SAY[field](query)[:_SHORT], _SAY[field](kept.query)[:_SHORT]


def _sampling_words(one: CacheQuery, other: CacheQuery) -> str:
    """The parameters of one that the other does not have like that."""
    theirs = {name: encode(value) for name, value in other.sampling.items()}
    mine = sorted(one.sampling.items())
    return ", ".join(f"{n}={v}" for n, v in mine if theirs.get(n) != encode(v))


def _history_words(one: CacheQuery, other: CacheQuery) -> str:
    """The first turn of one that the other does not have, with its number."""
    theirs = dict(enumerate(other.turns[:-1]))
    for number, turn in enumerate(one.turns[:-1]):
        if theirs.get(number) != turn:
            return f"{number + 1}. {turn.role}: {_text(turn)}"[:_SHORT]
    return ""


def _text(turn: Turn) -> str:
    return " ".join(part.text for part in turn.parts if isinstance(part, TextPart))


def _question(query: CacheQuery) -> str:
    return _text(query.turns[-1])


def _digests(query: CacheQuery) -> list[str]:
    return [part.digest for part in query.turns[-1].parts if isinstance(part, ImagePart)]


def _order(query: CacheQuery) -> tuple[str, ...]:
    """Role and parts; pictures by number, so that other pixels are not another order."""
    ranks = {digest: str(rank) for rank, digest in enumerate(sorted(_digests(query)), 1)}
    last = query.turns[-1]
    return last.role, *(_placed(part, ranks) for part in last.parts)


def _placed(part: Part, ranks: Mapping[str, str]) -> str:
    match part:
        case ImagePart(digest):
            return f"picture {ranks[digest]}"
        case MarkPart(text):
            return text
        case TextPart():
            return "text"
        case _:
            assert_never(part)


_READ: dict[Field, Callable[[CacheQuery], object]] = {
    Field.MODEL: lambda query: query.model,
    Field.ENGINE: lambda query: query.fingerprint,
    Field.SAMPLING: lambda query: encode(dict(query.sampling)),
    Field.HISTORY: lambda query: query.turns[:-1],
    Field.PICTURES: lambda query: sorted(_digests(query)),
    Field.ORDER: _order,
    Field.QUESTION: lambda query: [p for p in query.turns[-1].parts if isinstance(p, TextPart)],
}
_SAY: dict[Field, Callable[[CacheQuery], str]] = {
    Field.MODEL: lambda query: query.model,
    Field.ENGINE: lambda query: query.fingerprint[:12],
    Field.PICTURES: lambda query: ", ".join(digest[:12] for digest in _digests(query)),
    Field.ORDER: lambda query: ", ".join(_order(query)),
    Field.QUESTION: _question,
}
