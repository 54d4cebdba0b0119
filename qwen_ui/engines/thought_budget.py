"""How long a model may think: past its budget, the end of the thought is written for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ThoughtMarks:
    """Ids of the tokenizer: what opens a thought (None: nothing does), what ends it, and the whole
    ending as models write it, which holds `end` once."""

    begin: int | None
    end: int
    ending: Sequence[int]


def thought_marks(tokenizer: Any) -> ThoughtMarks | None:
    """None: this tokenizer has no thoughts."""
    known = tokenizer.get_added_vocab()
    if "</think>" not in known:
        return None
    ending = tokenizer("\n</think>\n\n", add_special_tokens=False)["input_ids"]
    return ThoughtMarks(known.get("<think>"), known["</think>"], ending)


class ThoughtBudget:
    """Counts the tokens of one answer's thoughts, and ends a thought where they are used up.

    Counted is what stands between the marks, in all thoughts together. `cut`: a thought was ended.
    """

    def __init__(self, tokens: int | None, marks: ThoughtMarks | None, *, thinking: bool) -> None:
        """None: no limit, or a tokenizer without thoughts. `thinking`: the prompt opened one."""
        self._left = tokens
        self._marks = marks
        self._thinking = thinking
        self._ending: deque[int] = deque()
        self.cut = False

    def next(self, wanted: int) -> int:
        """The token that comes where the model wants `wanted`."""
        marks = self._marks
        if marks is None or self._left is None:
            return wanted
        if self._thinking and wanted != marks.end and self._left == 0 and not self._ending:
            self._ending.extend(marks.ending)
            self.cut = True
        if self._ending:
            token = self._ending.popleft()
        else:
            token = wanted
            self._left -= int(self._thinking and token != marks.end)
        if token in (marks.begin, marks.end):
            self._thinking = token == marks.begin
        return token
