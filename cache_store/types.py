"""The values of the cache: what is asked, what is kept, what a lookup says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text of a turn, in canonical form."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture of a turn: `digest` is `images.digest` of the pixels the model gets (hex)."""

    digest: str


@dataclass(frozen=True, slots=True)
class MarkPart:
    """Text that nobody typed, like the time of a video's frame. It has no other wording: it belongs
    to the scope, not to the question."""

    text: str


Part = TextPart | ImagePart | MarkPart


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation; the order of its parts is part of the question."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CacheQuery:
    """Everything the model sees, and nothing it does not.

    `model` is the readable name, `fingerprint` the engine's identity (weights, dtype, kernels,
    template, libraries), `sampling` the *effective* parameters with every default filled in.
    `max_tokens` is not in the key: see `cache.ResponseCache`. `namespace` is the server's salt
    for who may see whose answers; a client never sets it.
    """

    model: str
    fingerprint: str
    turns: tuple[Turn, ...]
    sampling: Mapping[str, Scalar]
    max_tokens: int
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Two hex SHA-256 halves (`scope`: all but the last question) and a readable prefix."""

    prefix: str
    scope: str
    question: str

    def __str__(self) -> str:
        return f"{self.prefix}:{self.scope[:32]}:{self.question[:32]}"


class FinishReason(StrEnum):
    """Why generation ended. Only `stop` and `length` make an answer that may be stored."""

    STOP = "stop"  # the model ended its answer
    LENGTH = "length"  # exactly max_tokens were generated
    CONTEXT = "context"  # the context window was full before max_tokens
    THOUGHT = "thought"  # its thoughts were cut at their budget; the answer may be cut too
    CANCELLED = "cancelled"  # the reader stopped it


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer and what it cost.

    `completion_tokens` counts every generated token, the end token too, so that an answer with
    `finish_reason` stop is exact for every `max_tokens >= completion_tokens`. 0: nobody counted
    them, and it is exact for what was asked for, or more.
    `elapsed_s`: seconds a reader waited; `busy_s`: seconds the device worked for it.
    """

    text: str
    thought: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    first_token_s: float
    elapsed_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A stored answer. `material` is the key's full material, compared on every lookup.

    Times are seconds since the epoch; `expires_at` is absolute and carried by promotion.
    """

    material: bytes
    model: str
    max_tokens: int
    answer: Answer
    created_at: float
    expires_at: float


class Tier(StrEnum):
    """Where a hit was found."""

    L1 = "l1"  # memory
    L2 = "l2"  # disk, or a shared server


class Match(StrEnum):
    """Which stored answers may be served."""

    EXACT = "exact"  # to exactly this query
    EQUIVALENT = "equivalent"  # also to a question that folds to the same text, in the same scope


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer that may be served. `key` is the query's, `name` the entry's in its store.

    `match` says to what it was given: exactly this query, or the same but for the wording of the
    question. `question` is that other wording, and empty on an exact hit.
    """

    key: CacheKey
    entry: CacheEntry
    tier: Tier
    age_s: float
    ttl_s: float
    lookup_s: float
    name: str
    match: Match = Match.EXACT
    question: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A similar question that was answered in the same scope. It is offered, never served.

    `name` is the entry's, `age_s` the age of its answer.
    """

    question: str
    age_s: float
    name: str


class Look(NamedTuple):
    """When somebody looked, and what stood for the newest answer then."""

    newest: object
    at: float  # monotonic


@dataclass(frozen=True, slots=True)
class Miss:
    """No answer may be served. `why` says in one word what stood in the way.

    Hand `generation` to `ResponseCache.store` with the answer that is computed instead: if anything
    was forgotten meanwhile, that answer is not kept. `look` is for `ResponseCache.look_again`.
    """

    key: CacheKey
    lookup_s: float
    why: str = "absent"  # absent | expired | mismatch | corrupt | max_tokens | bypass
    generation: int | None = None
    similar: tuple[Suggestion, ...] = ()
    look: Look | None = field(default=None, compare=False)


Lookup = Hit | Miss


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What to keep and for how long. Budgets are bytes of stored values.

    `ttl_now_s` is for questions about now (see `ttl.py`), where it is shorter. A time may be
    infinite: that is `ttl.LONGEST_S`. Raises ValueError for one that is no number.
    """

    ttl_s: float = 24 * 3600
    memory_max_bytes: int = 64 * 2**20
    disk_max_bytes: int = 2**30
    ttl_now_s: float = 5 * 60

    def __post_init__(self) -> None:
        if math.isnan(self.ttl_s) or math.isnan(self.ttl_now_s):
            raise ValueError("ttl_s and ttl_now_s must be numbers of seconds")


class Adopted(StrEnum):
    """What became of another cache's entry."""

    KEPT = "kept"
    PRESENT = "present"  # the same question has an answer here that is no older
    EXPIRED = "expired"


class Evicted(StrEnum):
    """Why an entry is gone."""

    EXPIRED = "expired"  # its TTL ended
    BUDGET = "budget"  # room was needed for others
    FORGOTTEN = "forgotten"  # somebody asked for it
    CORRUPT = "corrupt"  # its bytes failed their check
    QUARANTINED = "quarantined"  # an audit got another answer


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """One slot of the time series: counts inside [start, start + width_s)."""

    start: float
    width_s: float
    hits: int  # equivalent ones too
    misses: int
    equivalent: int = 0
    collapsed: int = 0
    bypasses: int = 0
    saved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counters since the cache was first opened, and what is kept now.

    `hits_l1` and `hits_l2` are all hits, `equivalent_*` those of them that answered another
    wording. Percentiles are over the last day. `stats.py` tells what each counter counts.
    """

    hits_l1: int = 0
    hits_l2: int = 0
    equivalent_l1: int = 0
    equivalent_l2: int = 0
    misses: int = 0
    bypasses: int = 0
    collapsed: int = 0  # misses (and bypasses) that read another's computation
    stored: int = 0
    refused: int = 0
    dropped_writes: int = 0
    evicted: Mapping[Evicted, int] = field(default_factory=dict)
    errors: int = 0
    audited: int = 0
    mismatched: int = 0
    mismatch_bound: float = 1.0  # 95 % upper bound of the rate of mismatches (Clopper-Pearson)
    audited_remote: int = 0
    drifted: int = 0
    unaudited: int = 0
    saved_s: float = 0.0
    saved_busy_s: float = 0.0
    saved_tokens: int = 0
    entries: int = 0
    stored_bytes: int = 0
    memory_entries: int = 0
    memory_bytes: int = 0
    lookup_p50_s: float = 0.0
    lookup_p95_s: float = 0.0
    lookup_p99_s: float = 0.0
    write_p50_s: float = 0.0
    write_p95_s: float = 0.0
    series: tuple[SeriesPoint, ...] = field(default=())

    @property
    def hits(self) -> int:
        return self.hits_l1 + self.hits_l2

    @property
    def equivalent(self) -> int:
        return self.equivalent_l1 + self.equivalent_l2

    @property
    def hit_rate(self) -> float:
        """Hits over lookups that could have hit (0 to 1); bypasses do not count."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
