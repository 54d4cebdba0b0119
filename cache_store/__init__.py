"""An answer cache for vision-language models: exact by construction, proved by comparison.

`open_cache` gives a `ResponseCache`; README.md beside this file shows one question on its way.
"""

from cache_store.cache import ResponseCache, open_cache
from cache_store.types import (
    Answer,
    CachePolicy,
    CacheQuery,
    CacheStats,
    FinishReason,
    Hit,
    ImagePart,
    Lookup,
    MarkPart,
    Match,
    Miss,
    Suggestion,
    TextPart,
    Turn,
)

__all__ = [
    "Answer",
    "CachePolicy",
    "CacheQuery",
    "CacheStats",
    "FinishReason",
    "Hit",
    "ImagePart",
    "Lookup",
    "MarkPart",
    "Match",
    "Miss",
    "ResponseCache",
    "Suggestion",
    "TextPart",
    "Turn",
    "open_cache",
]
