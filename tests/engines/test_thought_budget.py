"""A thought ends at its budget, and the answer goes on."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from qwen_ui.engines.thought_budget import ThoughtBudget, ThoughtMarks

NEWLINE, BLANK, BEGIN, END = 10, 11, 100, 101
MARKS = ThoughtMarks(BEGIN, END, (NEWLINE, END, BLANK))


def generated(budget: ThoughtBudget, wanted: Iterable[int]) -> list[int]:
    """What comes out where the model wants these tokens, and wants them still after the ending."""
    out: list[int] = []
    for token in wanted:
        while (came := budget.next(token)) != token:
            out.append(came)
        out.append(token)
    return out


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (0, [NEWLINE, END, BLANK, 1, 2, 3, 4]),
        (1, [1, NEWLINE, END, BLANK, 2, 3, 4]),
        (3, [1, 2, 3, NEWLINE, END, BLANK, 4]),
    ],
)
def test_past_its_budget_a_thought_is_ended_as_models_end_theirs(
    tokens: int, expected: list[int]
) -> None:
    budget = ThoughtBudget(tokens, MARKS, thinking=True)
    assert generated(budget, [1, 2, 3, 4]) == expected
    assert budget.cut


@pytest.mark.parametrize("tokens", [3, 4, 100, None])
def test_a_thought_that_ends_within_its_budget_is_left_alone(tokens: int | None) -> None:
    budget = ThoughtBudget(tokens, MARKS, thinking=True)
    wanted = [1, 2, 3, END, BLANK, *range(20)]
    assert generated(budget, wanted) == wanted
    assert not budget.cut


def test_the_answer_is_not_counted() -> None:
    budget = ThoughtBudget(2, MARKS, thinking=False)
    assert generated(budget, range(20)) == list(range(20))
    assert not budget.cut


def test_a_second_thought_has_what_the_first_has_left() -> None:
    budget = ThoughtBudget(3, MARKS, thinking=True)
    out = generated(budget, [1, 2, END, 5, BEGIN, 3, 4, 6])
    assert out == [1, 2, END, 5, BEGIN, 3, NEWLINE, END, BLANK, 4, 6]
    assert budget.cut


def test_a_tokenizer_without_marks_has_no_thoughts() -> None:
    budget = ThoughtBudget(0, None, thinking=True)
    assert generated(budget, [1, 2]) == [1, 2]
    assert not budget.cut
