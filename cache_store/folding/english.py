"""Case and contractions."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from cache_store.folding.names import ALWAYS, BEGIN_SENTENCES, IN_MIXED_CASE

_CASELESS = "\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese and others
_LETTER = rf"(?:(?![{_CASELESS}])[^\W_])"
_WORD = re.compile(rf"{_LETTER}+(?:'{_LETTER}+)*")
_JOINED = re.compile(r"[.-]")  # U.S., T-shirt
_HAS_CASELESS = re.compile(f"[{_CASELESS}]")

_SHOUTED = frozenset({"US", "AIDS", "PIN", "SAT", "ICE"})  # and these are words in lower case
_SENTENCE = ".?!:;\"'"  # after these one begins
_LABELLED = re.compile(
    r"\s*(?:[?.!,;:)。？！，]|$)"
    r"| (?:in|is|are|or|and|on|of|to|with|for|than|at|from|vs|does|shown|present)\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"\b(?:am|do|did|can|may|if|will|must|\w+ould|have|was) $", re.IGNORECASE)
_AFTER_NUMBER = re.compile(r"\d\s?$")
_UNIT = 3  # letters: 5 Mb is not 5 mb

_BE = {"s": "is", "re": "are", "m": "am"}
# a closed list: "the dog's" is no contraction; and before a participle 's may stand for "has"
_SUBJECT = (
    "what|who|where|when|why|how|which|that|there|here|it|he|she|this|i|you|we|they|these|those"
)
_DONE = (  # participles
    r"(?:(?!between|green|wooden|golden|children|women|men|red\b)\S{2,}(?:ed|en|wn|ne)"
    r"|shot|hit|cut|put|lost|won|left|come|made|bought|caught|taught|run)\b"
)
_PREPOSITION = r" (?:for|with|on|of|in|as|by|to|from|at|out)\b"
_IS = re.compile(
    rf"\b({_SUBJECT})'(s|re|m)\b(?! (?:\S+ ){{0,2}}(?:been|got|gotten|had|become)\b)"
    # "what's he eaten" and "the dog that's bitten a man" have, not are
    rf"(?!(?<!what's) (?:just |already |never |ever )?{_DONE})"
    rf"(?! (?:he|she|it|they|(?:the|this|that) \S+) {_DONE}(?!{_PREPOSITION}))"
)
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should)n't\b")


def without_case(text: str) -> str:
    """Lower case, but what is written in capitals alone keeps them: US is not us, T is not t.

    A whole question in capitals is lowered, lone letters excepted. Names that are other words in
    lower case (Turkey), and units (5 kB), keep theirs. Nothing is lowered where two words of a
    text would become one ("Is it Cat or cat?"). Not `casefold`, which makes "Masse" of "Maße".
    """
    if not any(map(str.isupper, text)):
        return text
    writing = _Writing.of(text)
    inside: set[str] = set()  # words that begin no sentence

    def lowered(found: re.Match[str]) -> str:
        word = found[0]
        before = text[max(0, found.start() - 8) : found.start()]
        begins = found.start() == 0 or before.rstrip()[-1:] in _SENTENCE
        if not begins or not word[1:].islower():
            inside.add(word)
        if word.islower() or _keeps(word, begins, before, text[found.end() :][:9], writing):
            return word
        return word.lower()

    plain = _WORD.sub(lowered, text)
    return text if len({word.lower() for word in inside}) < len(inside) else plain


class _Writing(NamedTuple):
    """How a text uses capitals."""

    chinese: bool
    titled: bool
    shouted: bool

    @classmethod
    def of(cls, text: str) -> Self:
        chinese = _HAS_CASELESS.search(text) is not None
        words = [word for word in _WORD.findall(text) if word.lower() != word.upper()]
        several = len(words) > 1
        titled = several and all(word[0].isupper() for word in words)
        return cls(chinese, titled, several and not chinese and all(map(str.isupper, words)))


def _keeps(word: str, begins: bool, before: str, after: str, writing: _Writing) -> bool:
    """Whether the capitals of a word say something."""
    if len(word) == 1:
        if _JOINED.search(before[-1:] + after[:1]):
            return False
        return writing.chinese or word not in "AI" or _is_label(word, before, after)
    plain = word.lower().removesuffix("'s")
    if plain in ALWAYS:
        return True
    if word.isupper():
        return not writing.shouted or word in _SHOUTED
    if writing.titled:
        return False
    if len(word) <= _UNIT and _AFTER_NUMBER.search(before):
        return True
    named = word[0].isupper() and plain in IN_MIXED_CASE
    return named and not (begins and plain in BEGIN_SENTENCES)


def _is_label(letter: str, before: str, after: str) -> bool:
    """Bar A, the current I: neither an article nor the speaker."""
    if _LABELLED.match(after) is None:
        return False
    return letter == "A" or _SPEAKER.search(before) is None


def spelled_out(text: str) -> str:
    """what's -> what is, isn't -> is not, where nothing else can be meant."""
    if "'" not in text:
        return text
    text = _IS.sub(lambda found: f"{found[1]} {_BE[found[2]]}", text)
    return _NOT.sub(lambda found: f"{found[1]} not", text)
