"""Why an answer was not in the cache, in one sentence."""

from __future__ import annotations

from qwen_ui.types import MissCause, MissReason
from qwen_ui.ui.badge import duration
from qwen_ui.ui.i18n import Texts

# What became of the answer itself; every other cause is a difference of the nearest one.
_SENTENCES = {
    MissCause.ABSENT: "why.absent",
    MissCause.EXPIRED: "why.expired",
    MissCause.MAX_TOKENS: "why.max_tokens",
    MissCause.CORRUPT: "why.corrupt",
    MissCause.MISMATCH: "why.corrupt",
    MissCause.VERSION: "why.version",
    MissCause.NOTHING: "why.nothing",
}
_DIFFERENCES = {
    MissCause.MODEL: "why.model",
    MissCause.ENGINE: "why.engine",
    MissCause.SAMPLING: "why.sampling",
    MissCause.HISTORY: "why.history",
    MissCause.PICTURES: "why.pictures",
    MissCause.ORDER: "why.order",
    MissCause.QUESTION: "why.question",
}


def sentence(reason: MissReason, say: Texts) -> str:
    """What stood in the way, or how the nearest answer differs: first of all, and besides."""
    if reason.cause in _SENTENCES:
        return say(_SENTENCES[reason.cause])
    differences = [_first(reason, say), *(say(_DIFFERENCES[cause]) for cause in reason.also)]
    age = duration(max(1.0, reason.age_s or 0.0), say)
    return say("why.differs", age=age, differences=say("why.and").join(differences))


def _first(reason: MissReason, say: Texts) -> str:
    """The first difference, with the value of the nearest answer where it tells a reader something.

    Of a history only that it differs: it may be somebody else's.
    """
    named = say(_DIFFERENCES[reason.cause])
    match reason.cause:
        case MissCause.MODEL | MissCause.SAMPLING | MissCause.QUESTION if reason.kept:
            kept = " ".join(reason.kept.split())
            return say("why.value", difference=named, kept=kept)
        case _:
            return named
