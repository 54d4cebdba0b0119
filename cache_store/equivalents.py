"""Equivalent questions: what the wordings of one question share, and how that is checked.

The wordings share a name, made from the scope and the fold. A name only proposes: an entry under it
is served when the scope in its material is the asked one, byte for byte, and its question folds to
the same text.

Only a last turn with exactly one text has other wordings; earlier turns are in the scope, to the
letter.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from cache_store.keys import encode
from cache_store.questions import FOLD_VERSION, fold
from cache_store.types import CacheKey, CacheQuery, TextPart


class Wordings(NamedTuple):
    """All the wordings of one question in one scope.

    `name` is what they share in a store, `folded` the text that they fold to; `asked` and
    `material` are the one at hand.
    """

    name: str
    folded: str
    asked: str
    material: bytes

    def question(self, material: bytes) -> str | None:
        """The question of a stored entry, if it is one of these wordings."""
        scope = self.material.removesuffix(encode([self.asked]))
        if not material.startswith(scope):
            return None
        text = _only_text(material[len(scope) :])
        return text if text is not None and _folded(text) == self.folded else None


def wordings(query: CacheQuery, key: CacheKey, material: bytes) -> Wordings | None:
    """What an equivalent question shares with this one; None where equivalence does not apply."""
    texts = [part.text for part in query.turns[-1].parts if isinstance(part, TextPart)]
    if len(texts) != 1:
        return None
    folded = _folded(texts[0])
    name = f"{key.prefix}:{key.scope[:32]}:~{_digest(FOLD_VERSION, folded)[:32]}"
    return Wordings(name, folded, texts[0], material)


@lru_cache(maxsize=1024)  # questions that repeat are what the cache is for
def _folded(text: str) -> str:
    return fold(text)


@lru_cache(maxsize=1024)
def _digest(version: str, folded: str) -> str:
    return hashlib.sha256(encode([version, folded])).hexdigest()


def _only_text(question: bytes) -> str | None:
    """The text of a question's material, if it is exactly one."""
    payload = question.partition(b":s")[2].partition(b":")[2]
    text = payload.decode("utf-8", "replace")  # what was replaced does not encode to the same
    return text if encode([text]) == question else None
