"""Quoted text is set aside before any rule runs: what a sign says is not ours to rewrite."""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = "\ufdd0"  # stands for one quotation; Unicode reserves it for inside programs

_DOUBLE = '"“”„‟＂〝〞❝❞'
_SINGLE = "'‘’‚‛＇❛❜"
_LETTERS = "A-Za-z0-9À-ɏＡ-Ｚａ-ｚ０-９"
_QUOTED = re.compile(
    rf"""
      ```.*?```                              # a block of code
    | `[^`\n]+`
    | [{_DOUBLE}] [^{_DOUBLE}]+ [{_DOUBLE}]
    | 「[^「」]+」 | 『[^『』]+』 | ﹁[^﹁﹂]+﹂ | ﹃[^﹃﹄]+﹄
    | ｢[^｢｣]+｣ | 《[^《》]+》 | 〈[^〈〉]+〉 | 【[^【】]+】 | 〔[^〔〕]+〕
    | «[^«»]+» | »[^«»]+« | ‹[^‹›]+› | ›[^‹›]+‹
    | (?<![{_LETTERS}]) [{_SINGLE}] (?!\s)    # not the apostrophe of "what's" or "the dogs'"
      [^{_SINGLE}\n]* (?: (?<=\w)[{_SINGLE}](?=\w) [^{_SINGLE}\n]* )*
      (?<!\s) [{_SINGLE}] (?![{_LETTERS}])
    | (?<!\w) [{_DOUBLE}「『《«] (?=\S) .+ $      # one that nothing closes
    """,
    re.VERBOSE | re.DOTALL,
)
_MARKS = frozenset(_DOUBLE + _SINGLE + "`「『﹁﹃«»‹›｢《〈【〔")
_STRAIGHT = {**dict.fromkeys(_DOUBLE, '"'), **dict.fromkeys(_SINGLE, "'")}


def set_aside(text: str) -> tuple[str, list[str]]:
    """The text with MARK for each quotation, and the quotations; only their marks are unified."""
    quoted: list[str] = []
    if _MARKS.isdisjoint(text):
        return text, quoted

    def keep(found: re.Match[str]) -> str:
        span = found[0]
        first, last = (_STRAIGHT.get(mark, mark) for mark in (span[0], span[-1]))
        quoted.append(first + span[1:-1] + last)
        return MARK

    return _QUOTED.sub(keep, text), quoted


def put_back(text: str, quoted: Sequence[str], mark: str = MARK) -> str:
    """The inverse of `set_aside`; rules neither drop nor reorder the mark."""
    pieces = text.split(mark)
    return "".join(a + b for a, b in zip(pieces, [*quoted, ""], strict=True))
