"""The estimate of a wait."""

from __future__ import annotations

import pytest

from qwen_ui.engines.pace import Pace


def test_nothing_is_guessed_before_an_answer_was_seen() -> None:
    assert Pace().wait_s(3, 1.0) is None


@pytest.mark.parametrize(
    ("ahead", "running_s", "expected"),
    [(1, 0.0, 4.0), (1, 1.0, 3.0), (3, 1.0, 11.0), (1, 60.0, 0.0), (2, 60.0, 4.0)],
)
def test_a_wait_is_the_mean_for_each_one_ahead_less_what_has_passed(
    ahead: int, running_s: float, expected: float
) -> None:
    pace = Pace()
    for seconds in (2.0, 6.0):
        pace.took(seconds)
    assert pace.wait_s(ahead, running_s) == expected


def test_only_the_last_answers_count() -> None:
    pace = Pace()
    for seconds in [100.0] * 50 + [2.0] * 16:
        pace.took(seconds)
    assert pace.wait_s(1, 0.0) == 2.0
