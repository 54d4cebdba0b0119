"""The events of one answer, in the order in which they come; live and replayed ones are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwen_ui.types import FinishReason, Match, ModelState, Suggestion

RECORDED = "recorded"  # CacheStatus.detail of a hit that is another server's answer


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What the cache did, in the terms of RFC 9211; first event of every answer.

    A hit has `hit`, `match`, `tier`, `age_s` and `ttl_s`; anything else has `fwd`. An equivalent
    hit has `asked`, the question that its answer was given to. After a miss a second one may follow
    with `stored` set, as the last event before `Finish`. `similar` questions come with a miss:
    answers to *them* are kept, and asking one of them in this one's place shows it. `detail` says
    why there was no hit; of a hit it is RECORDED where a model that is not ours has answered.
    """

    key: str
    hit: bool = False
    fwd: Literal["miss", "bypass"] | None = None
    stored: bool = False
    collapsed: bool = False
    ttl_s: float | None = None
    age_s: float | None = None
    tier: Literal["l1", "l2"] | None = None
    detail: str = ""
    lookup_s: float = 0.0
    match: Match | None = None
    asked: str = ""
    similar: tuple[Suggestion, ...] = ()

    def header(self) -> str:
        """The value of a `Cache-Status` header (RFC 9211, section 2)."""
        fields = ["qwen-ui"]
        if self.hit:
            fields.append("hit")
        if self.fwd:
            fields.append(f"fwd={self.fwd}")
        if self.stored:
            fields.append("stored")
        if self.collapsed:
            fields.append("collapsed")
        if self.ttl_s is not None:
            fields.append(f"ttl={int(self.ttl_s)}")
        fields.append(f'key="{self.key}"')
        if self.tier or self.detail:
            fields.append(f"detail={self.detail or self.tier}")
        if self.match:
            fields.append(f"match={self.match}")
        return "; ".join(fields)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The answer waits for its model: loading (`progress` 0 to 1) or busy (`waiting` before us,
    for about `wait_s` seconds; None: the model has not answered yet, so there is no telling)."""

    model: str
    state: ModelState
    progress: float = 0.0
    waiting: int = 0
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class ThoughtDelta:
    """Text of a thinking model's thoughts."""

    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts and times of the answer. On a hit the times are this hit's, `saved_s` what it saved.

    `first_token_s` and `elapsed_s` are seconds from the request to the first token and to the
    end; `busy_s` the seconds the device worked. Of an answer by the model: `cached_tokens` of the
    prompt were known to it already, and so was the encoding of `known_pictures`.
    """

    prompt_tokens: int
    completion_tokens: int
    first_token_s: float
    elapsed_s: float
    busy_s: float
    saved_s: float = 0.0
    saved_busy_s: float = 0.0
    cached_tokens: int = 0
    known_pictures: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The last event."""

    reason: FinishReason


ChatEvent = CacheStatus | ModelStatus | ThoughtDelta | TextDelta | Usage | Finish
