"""White space, apostrophes, and the marks at the end."""

from __future__ import annotations

import re

_CURLY = str.maketrans({**dict.fromkeys("‘’‛", "'"), **dict.fromkeys("“”„‟〝〞", '"')})
_SPACES = re.compile(r"(?<=\S)[^\S\n]+")  # not the indentation of code: the model reads it
_ENDS = "?.。!"
_ASKS_FOR_MARK = re.compile(r"\b(?:an?|the|or|and) $")  # "does the sign show a ?"
_FACTORIAL = re.compile(r"(?:\d|[)\]}]|(?<![^\W_])[A-Za-z])\s*$")


def straight_apostrophes(text: str) -> str:
    """Curly quotes as straight ones; those of quotations are set aside before."""
    return text if text.isascii() else text.translate(_CURLY)


def single_spaced(text: str) -> str:
    """Runs of white space as one space; lines stay lines, since the model sees a list or code."""
    return "\n".join(_SPACES.sub(" ", line).rstrip() for line in text.split("\n"))


def without_end(text: str) -> str:
    """Without trailing ? . 。 and !, but `5!` and `n!` are factorials: there ! stays."""
    body = text.rstrip(_ENDS + " \n")
    tail = text[len(body) :].lstrip()
    if not tail or _ASKS_FOR_MARK.search(text[len(body) - 4 : -len(tail)]):
        return text
    if tail.startswith("!") and _FACTORIAL.search(body[-2:]):
        return text[: -len(tail)] + "!" * (len(tail) - len(tail.lstrip("!")))
    return body
