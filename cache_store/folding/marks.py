"""White space, apostrophes, and the marks at the end."""

from __future__ import annotations

import re

from cache_store.folding.literals import LITERAL
from cache_store.folding.quotations import MARK

_CURLY = str.maketrans({**dict.fromkeys("‘’‛", "'"), **dict.fromkeys("“”„‟〝〞", '"')})
_SPACES = re.compile(r"(?<!\t)(?!\t\t)\s+(?<!\t\t)")  # two tabs hold an empty cell
_ENDS = "?.。!"
_ASKS_FOR_MARK = re.compile(r"\b(?:an?|the|or|and) $")  # "does the sign show a ?"
_MARK_ALONE = re.compile(  # a mark that the question is about: "the operator ?", "what is: !"
    r"(?:\b(?:operators?|symbols?|characters?|marks?|keys?|operand|prefix|suffix|quantifiers?|called"
    r"|named|means?|notation|command|writ(?:es?|ing|ten)|typ(?:es?|ing|ed)|texts?|puts?)"
    r"|[符键鍵号號为為叫是])\s$"
    rf"|[^\w\s)\]}}>%\"'\u2019\u201d」』》】{MARK}]\s?$"
)
_FACTORIAL = re.compile(r"(?:\d|[)\]}]|(?<![^\W_])[A-Za-z])\s*$")


def straight_apostrophes(text: str) -> str:
    """Curly quotes as straight ones; those of quotations are set aside before."""
    return text if text.isascii() else text.translate(_CURLY)


def single_spaced(text: str) -> str:
    """Runs of white space as one space; what has several lines is not folded at all."""
    return _SPACES.sub(" ", text)


def without_end(text: str) -> str:
    """Without trailing ? . 。 and !, but `5!` and `n!` are factorials: there ! stays."""
    body = text.rstrip(_ENDS + " \n")
    tail = text[len(body) :].lstrip()
    if not tail or _is_about_mark(text[: -len(tail)], tail):
        return text
    if tail.startswith("!") and _FACTORIAL.search(body[-2:]):
        return text[: -len(tail)] + "!" * (len(tail) - len(tail.lstrip("!")))
    return body


def _is_about_mark(before: str, tail: str) -> bool:
    if before.rstrip().endswith(LITERAL):  # [a-z]? is not [a-z]
        return True
    if before[-1:].isspace() and tail[0] != "?" and tail not in (".", "。"):  # "he writes ..."
        return True
    ends = before[-16:]
    return bool(_ASKS_FOR_MARK.search(ends) or _MARK_ALONE.search(ends))
