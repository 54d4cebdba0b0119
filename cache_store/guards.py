"""Which similar wordings are another question: guards that drop a candidate, in two languages.

SimHash sees no difference between "left" and "right". These rules do, and err on the side of
dropping: a suggestion that is missing costs nothing. Nothing here decides what is *served*.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cache_store.lexicon import (
    ASKING,
    COLOURS,
    NEGATIONS,
    NUMBERS,
    PLACES,
    POLARITY,
    SAME,
    STOP,
    ZH_PHRASES,
)

_QUOTED = re.compile(
    r"“([^”]*)”|\"([^\"]*)\"|「([^」]*)」|『([^』]*)』|《([^》]*)》|‘([^’]*)’(?!\w)|(?<!\w)'([^']*)'(?!\w)"
)
_TOKEN = re.compile(
    r"[一-鿿]+|[-+−]?\d+(?:[.,:/]\d+)*|[^\W\d_一-鿿]+(?:'[^\W\d_]+)?|[^\w\s]",
)
_PUNCTUATION = frozenset(".,;:?!'\"()[]，。？！、；：“”‘’（）「」『』《》…·")
_SAID_OF_ALL = re.compile(  # of every question about a picture
    r"\b(?:in|on|of|from) (?:the|this) (?:image|picture|photo|photograph)\b"
    r"|\bin detail\b"
    r"|在?[这该]?[张幅个]?(?:图片|照片|图像|画面|图)(?:里面|中间|上面|当中|里|中|上|内)"
)
_BETWEEN_CHINESE = re.compile(r"(?<=[一-鿿])\s+(?=[一-鿿])")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
_A_NOT_A = re.compile(r"(.)[不没]\1")  # 是不是, 有没有: a question, not a negation
_STEM = 4  # letters that two forms of one word share at least
_SHARED = 0.5  # of the content words of the longer question


@dataclass(frozen=True, slots=True)
class Reading:
    """A question as the guards read it. Every field keeps the order of the question."""

    quoted: tuple[str, ...]
    numbers: tuple[str, ...]
    negations: int
    polarity: tuple[str, ...]
    places: tuple[str, ...]
    colours: tuple[str, ...]
    asking: tuple[str, ...]
    symbols: tuple[str, ...]
    content: tuple[str, ...]  # what no other field holds, without stop words


Guard = Callable[[Reading, Reading], bool]


@lru_cache(maxsize=8192)  # of 1 to 2 kB
def read(question: str) -> Reading:
    """Sort the words of a question by what they are for."""
    quoted = tuple("".join(groups) for groups in _QUOTED.findall(question))
    text = _QUOTED.sub(" ", question)
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).replace("’", "'").casefold()
    text = _BETWEEN_CHINESE.sub("", " ".join(text.split()))
    text = _A_NOT_A.sub(r"\1", _SAID_OF_ALL.sub(" ", text))
    found: dict[str, list[str]] = {name: [] for name in _FIELDS}
    for word in _words(text):
        known = _KINDS.get(word)
        if known is not None:
            found[known[0]].append(known[1])
        elif word[-1].isdigit():
            found["numbers"].append(word)
        elif word[0].isalpha():
            found["content"].append(word)
        elif word not in _PUNCTUATION:
            found["symbols"].append(word)
    found.pop("stop")
    negations = len(found.pop("negations"))
    return Reading(quoted, negations=negations, **{k: tuple(v) for k, v in found.items()})


def is_another_question(one: Reading, other: Reading) -> bool:
    """Whether any guard drops the pair."""
    return not all(guard(one, other) for guard in GUARDS)


def same_quotes(one: Reading, other: Reading) -> bool:
    """Quoted text is what is asked about: equal to the letter."""
    return one.quoted == other.quoted


def same_numbers(one: Reading, other: Reading) -> bool:
    """Numbers, as digits or words, and signs, equal and in order."""
    return one.numbers == other.numbers and one.symbols == other.symbols


def same_negation(one: Reading, other: Reading) -> bool:
    return one.negations == other.negations


def same_polarity(one: Reading, other: Reading) -> bool:
    """No "most" against "least", and none against nothing."""
    return one.polarity == other.polarity


def same_places(one: Reading, other: Reading) -> bool:
    return one.places == other.places


def same_colours(one: Reading, other: Reading) -> bool:
    return one.colours == other.colours


def same_asking(one: Reading, other: Reading) -> bool:
    """ "What is it eating?" and "Is it eating?" have answers of two kinds."""
    return one.asking == other.asking


def same_order(one: Reading, other: Reading) -> bool:
    """The content words that both have come in one order: a dog on a cat is no cat on a dog."""
    shared = Counter(one.content) & Counter(other.content)
    kept = [[word for word in reading.content if word in shared] for reading in (one, other)]
    return kept[0] == kept[1]


def nothing_exchanged(one: Reading, other: Reading) -> bool:
    """One may say more than the other; a word in place of another is another question."""
    mine = Counter(one.content) - Counter(other.content)
    theirs = Counter(other.content) - Counter(one.content)
    unmatched = [word for word in mine if not any(_one_word(word, w) for w in theirs)]
    unmatched_theirs = [word for word in theirs if not any(_one_word(word, w) for w in mine)]
    if unmatched and unmatched_theirs:
        return False
    longer = max(len(one.content), len(other.content))
    return len(unmatched) + len(unmatched_theirs) <= _SHARED * longer


GUARDS: tuple[Guard, ...] = (
    same_quotes,
    same_numbers,
    same_negation,
    same_polarity,
    same_places,
    same_colours,
    same_asking,
    same_order,
    nothing_exchanged,
)

_TABLES: dict[str, dict[str, str]] = {  # by field; the first table that has a word decides
    "numbers": NUMBERS,
    "negations": NEGATIONS,
    "polarity": POLARITY,
    "places": PLACES,
    "colours": COLOURS,
    "asking": ASKING,
    "stop": STOP,
    "content": SAME,
}
_FIELDS = (*_TABLES, "symbols")
_KINDS = {
    word: (field, meaning)
    for field, table in reversed(_TABLES.items())
    for word, meaning in table.items()
}


def _one_word(one: str, other: str) -> bool:
    """Two forms of one word: players, player; wearing, wears."""
    if not (one.isascii() and other.isascii()):
        return False
    shared = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    shared = min(len(one), len(other)) if shared is None else shared
    ends = {one[shared:], other[shared:]}
    return shared >= _STEM - 1 and ends <= {"", "s", "es", "ing", "ed", "d", "e"}


def _words(text: str) -> list[str]:
    words: list[str] = []
    for token in _TOKEN.findall(text):
        if "一" <= token[0] <= "鿿":
            words += _chinese(token)
        elif token.endswith("n't"):
            words += [token[:-3], "not"]
        elif "'" in token:
            words.append(token.partition("'")[0])  # what's, the dog's
        else:
            words.append(token)
    return [word for word in words if word]


def _chinese(run: str) -> list[str]:
    """Phrases of the lexicon first, the longest first; what is left, sign by sign."""
    words, at = [], 0
    while at < len(run):
        longest = next(
            (run[at : at + n] for n in (4, 3, 2) if run[at : at + n] in ZH_PHRASES), run[at]
        )
        words.append(longest)
        at += len(longest)
    return words
