"""How long an answer is kept: minutes where the question is about now, else the policy's time.

The end is absolute: set when the answer is stored, carried along by promotion, and no hit moves it.
A clock that is set back prolongs a life by no more than it was set back; what a clock stored that
was ahead is not served (`shelf.is_current`), and the next answer to the question replaces it.
"""

from __future__ import annotations

import math
import re
import unicodedata

from cache_store.folding.characters import visible
from cache_store.folding.chinese import unspaced
from cache_store.types import CachePolicy, CacheQuery, TextPart

# "snow" and "known" are other words, "the current" is in a wire, "is this morning" looks at the
# light, and 出现在 is "appears at"; both Chinese scripts
_ABOUT_NOW = re.compile(
    r"(?<![^\W_])(?:now|nowadays|today|tonight|tomorrow|yesterday|currently|presently|latest|newest"
    r"|at (?:the|this) moment|at present|up[ -]to[ -]date|these days"
    r"|(?:this|last|next) (?:week|month|year)"
    r"|current (?:time|date|day|year|month|weather|temperature|price|president|version))(?![^\W_])"
    r"|(?<![出呈体體表显顯发發浮实實])[现現]在|[现現][今任]|今[天日晚早年]|[昨明]天|目前|[当當][前今]"
    r"|此[刻时時]|如今|最新|眼下|近日|[这這本][个個]?[周週月]|[实實][时時]",
    re.IGNORECASE,
)


LONGEST_S = 10 * 365 * 86_400.0  # what "for ever" means: an end is a time that can be written down


def keep_s(query: CacheQuery, policy: CachePolicy, asked_s: float | None) -> float:
    """Seconds to keep an answer to `query`, `LONGEST_S` at most. What the request asks for beats
    the policy; where that is no number, nothing is kept."""
    wanted_s = _by_policy(query, policy) if asked_s is None else asked_s
    return 0.0 if math.isnan(wanted_s) else min(wanted_s, LONGEST_S)


def _by_policy(query: CacheQuery, policy: CachePolicy) -> float:
    texts = (part.text for part in query.turns[-1].parts if isinstance(part, TextPart))
    if any(is_about_now(text) for text in texts):
        return min(policy.ttl_s, policy.ttl_now_s)
    return policy.ttl_s


def is_about_now(question: str) -> bool:
    """Whether a question asks about the present, in any width, script or spacing."""
    if _ABOUT_NOW.search(question):
        return True
    plain = visible(unicodedata.normalize("NFKC", question))  # ｎｏｗ
    plain = unspaced(" ".join(plain.split()))  # 今 天
    return plain != question and _ABOUT_NOW.search(plain) is not None
