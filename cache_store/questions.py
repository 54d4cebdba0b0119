"""Questions: the form that the model sees, and the form that equivalence compares.

`canonical` is what is hashed and run. `fold` goes further and is only ever compared: two questions
that fold to the same text mean the same, by a reviewed list of rewrites. Each rule has rows in
tests/cache_store/questions.toml that must become equal, and rows that must not.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cache_store.folding import literals
from cache_store.folding.characters import composed, visible, wide_as_plain
from cache_store.folding.chinese import OPENCC_VERSION, simplified, synonyms, unspaced
from cache_store.folding.english import spelled_out, without_case
from cache_store.folding.manners import without_closer, without_opener
from cache_store.folding.marks import single_spaced, straight_apostrophes, without_end
from cache_store.folding.quotations import MARK, put_back, set_aside
from cache_store.folding.wording import is_about_wording

Rule = Callable[[str], str]

# in this order: characters, then manners (which need the spaces that `unspaced` removes), then case
CHARACTERS: tuple[Rule, ...] = (wide_as_plain, visible, composed, straight_apostrophes)
WORDS: tuple[Rule, ...] = (
    single_spaced,
    simplified,
    without_end,
    without_closer,
    without_opener,
    without_case,
    spelled_out,
    unspaced,
    synonyms,
)
RULES = CHARACTERS + WORDS

# a new rule, or a changed one, is a new version; so is another OpenCC, which maps other characters
FOLD_VERSION = f"2-opencc-{OPENCC_VERSION}"

_NO_TEXT = re.compile(
    f"[{MARK}{literals.LITERAL}\ud800-\udfff]"
)  # half a character, or what no text may hold
_MOST_ROUNDS = 8
_LONGEST = 4000  # characters; nobody words such a text twice, and folding it would take long


def canonical(text: str) -> str:
    """Newlines unified, outer white space stripped; nothing else.

    Invisible characters hold emoji, flags and Persian together, and NFC remaps some Han
    characters, so both stay as they are.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def fold(text: str) -> str:
    """The text that all rewrites of a question share. Idempotent; empty only for an empty text.

    Quoted text and code stay as they are, and so does a question about wording or one of several
    lines, which often hold what is asked about. Rules are repeated until none changes anything
    ("Hi, please ...").
    """
    text = canonical(text)
    if len(text) > _LONGEST or "\n" in text or _NO_TEXT.search(text):
        return text
    folded = text
    for _ in range(0 if is_about_wording(text) else _MOST_ROUNDS):
        before, folded = folded, _once(folded)
        if folded == before:
            return text if is_about_wording(folded) else folded
    return text


def _once(text: str) -> str:
    open_text, quoted = set_aside(text)
    open_text, kept = literals.set_aside(_follow(CHARACTERS, open_text))
    open_text = put_back(_follow(WORDS, open_text), kept, literals.LITERAL)
    return put_back(open_text, quoted)


def _follow(rules: tuple[Rule, ...], text: str) -> str:
    for rule in rules:
        # a question that is nothing but a greeting is that greeting
        text = rule(text).strip() or text
    return text
