"""Case and contractions."""

from __future__ import annotations

import re

_CASELESS = "\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese and others
_LETTER = rf"(?:(?![{_CASELESS}])[^\W_])"
_WORD = re.compile(rf"{_LETTER}+(?:'{_LETTER}+)*")
_JOINED = re.compile(r"[.-]")  # U.S., T-shirt
_HAS_CASELESS = re.compile(f"[{_CASELESS}]")

_BE = {"s": "is", "re": "are", "m": "am"}
# a closed list: "the dog's" is no contraction; and before a participle 's may stand for "has"
_SUBJECT = (
    "what|who|where|when|why|how|which|that|there|here|it|he|she|this|i|you|we|they|these|those"
)
_IS = re.compile(rf"\b({_SUBJECT})'(s|re|m)\b(?! (?:\S+ ){{0,2}}(?:been|got|gotten|had|become)\b)")
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should)n't\b")


def without_case(text: str) -> str:
    """Lower case, but what is written in capitals alone keeps them: US is not us, T is not t.

    A whole question in capitals is lowered, lone letters excepted. Not `casefold`, which makes
    "Masse" of "Maße".
    """
    if not any(map(str.isupper, text)):
        return text
    chinese = _HAS_CASELESS.search(text) is not None
    words = [word for word in _WORD.findall(text) if word.lower() != word.upper()]
    shouted = not chinese and len(words) > 1 and all(map(str.isupper, words))

    def lowered(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) == 1:
            around = text[max(0, found.start() - 1) : found.end() + 1]
            keeps = not _JOINED.search(around) and (chinese or word not in "AI")
        else:
            keeps = word.isupper() and not shouted
        return word if keeps else word.lower()

    return _WORD.sub(lowered, text)


def spelled_out(text: str) -> str:
    """what's -> what is, isn't -> is not, where nothing else can be meant."""
    if "'" not in text:
        return text
    text = _IS.sub(lambda found: f"{found[1]} {_BE[found[2]]}", text)
    return _NOT.sub(lambda found: f"{found[1]} not", text)
