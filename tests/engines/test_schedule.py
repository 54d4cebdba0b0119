"""The order of what waits: by kind, and in each kind fair between visitors."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from qwen_ui.engines.base import Priority
from qwen_ui.engines.schedule import Rotation, Schedule


def rotation(items: str) -> Rotation[str]:
    """Items such as "a1 a2 b1": the letter is the visitor, `-` a stranger."""
    made: Rotation[str] = Rotation()
    for item in items.split():
        add(made, item)
    return made


def add(into: Rotation[str], item: str) -> None:
    into.add(item, "" if item[0] == "-" else item[0])


def drained(rotation: Rotation[str]) -> str:
    return " ".join(rotation.take() for _ in range(len(rotation)))


@pytest.mark.parametrize(
    ("came", "taken"),
    [
        ("a1 b1 c1", "a1 b1 c1"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"),
        ("-1 -2 -3 a1 a2 -4", "-1 -2 -3 a1 -4 a2"),
        ("", ""),
    ],
)
def test_visitors_take_turns_and_each_keeps_his_own_order(came: str, taken: str) -> None:
    made = rotation(came)
    assert " ".join(made.order()) == taken
    assert drained(made) == taken


def test_one_who_queued_ten_does_not_hold_up_the_first_of_another() -> None:
    made = rotation(" ".join(f"a{n}" for n in range(10)))
    assert made.take() == "a0"
    add(made, "b0")
    assert made.order()[0] == "b0"
    assert made.take() == "b0"
    add(made, "b1")  # he was served in this round, as the other was
    assert made.order()[:3] == ["a1", "b1", "a2"]


def test_nobody_saves_up_turns_by_staying_away() -> None:
    made = rotation("a1 a2 a3 a4")
    assert [made.take() for _ in range(3)] == ["a1", "a2", "a3"]
    for item in ("b1", "b2", "b3", "a5"):
        add(made, item)
    assert drained(made) == "b1 a4 b2 b3 a5"


def test_what_leaves_gives_its_turn_to_the_next_of_its_visitor() -> None:
    made = rotation("a1 a2 a3 b1")
    first = made.order()[0]
    assert made.remove(first)
    assert not made.remove(first)
    assert drained(made) == "a2 b1 a3"


def test_items_are_told_apart_by_identity() -> None:
    made: Rotation[list[int]] = Rotation()
    first, second = [1], [1]
    made.add(first, "a")
    made.add(second, "b")
    assert made.remove(second)
    assert made.take() is first


def test_what_is_put_back_comes_next_and_has_cost_nothing() -> None:
    made = rotation("a1 a2 b1")
    made.put_back(made.take(), "a")
    add(made, "c1")
    assert drained(made) == "a1 b1 c1 a2"


def test_counting_by_visitor() -> None:
    made = rotation("a1 b1 a2")
    assert [made.count(visitor) for visitor in "abc"] == [2, 1, 0]


def test_the_order_that_is_told_is_the_order_that_is_kept() -> None:
    draw = random.Random(1)
    made: Rotation[str] = Rotation()
    number = 0
    for _ in range(500):
        if draw.random() < 0.5:
            add(made, f"{draw.choice('abc-')}{number}")
            number += 1
        elif len(made):
            told = made.order()
            assert made.take() == told[0]
            assert made.order() == told[1:]
    told = made.order()
    assert [made.take() for _ in told] == told


def test_while_all_have_something_queued_nobody_is_served_twice_more_than_another() -> None:
    made = rotation(" ".join([f"a{n}" for n in range(40)] + ["b0 c0"]))
    served: Counter[str] = Counter()
    for turn in range(1, 31):
        item = made.take()
        served[item[0]] += 1
        if item[0] in "bc":
            add(made, f"{item[0]}{turn}")
        assert max(served[v] for v in "abc") - min(served[v] for v in "abc") <= 1


def test_answers_come_before_what_is_prepared_and_that_before_audits() -> None:
    schedule: Schedule[str] = Schedule()
    for name, priority in (
        ("audit", Priority.AUDIT),
        ("prepare", Priority.PREPARE),
        ("answer", Priority.ANSWER),
        ("prepare too", Priority.PREPARE),
    ):
        schedule.of(priority).add(name, "a")
    assert len(schedule) == 4
    assert [schedule.take() for _ in range(5)] == [
        *("answer", "prepare", "prepare too", "audit"),
        None,
    ]
    assert len(schedule) == 0
