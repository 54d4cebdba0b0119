"""Timing, tables and goals of the benchmarks."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A number that was promised, and what was measured."""

    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured < self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<"
        verdict = "pass" if self.met else "FAIL"
        return (
            f"{verdict}  {self.what}: {self.measured:.3g} (goal {sign} {self.limit:g} {self.unit})"
        )


def arguments(description: str) -> argparse.Namespace:
    """`--quick`, `--json` and `--data`, which every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, in under 40 s")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on a line")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("QWEN_UI_TEST_DATA"),
        help="folder of photos and questions (QWEN_UI_TEST_DATA)",
    )
    return parser.parse_args()


def timed_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True)
class Turns:
    """Milliseconds of calls that ran in turns, round by round."""

    taken: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.taken[name])

    def ratio(self, name: str, over: str) -> float:
        """Median of the rounds' ratios: what slows one round slows both sides of it."""
        pairs = zip(self.taken[name], self.taken[over], strict=True)
        return statistics.median(one / other for one, other in pairs)


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> Turns:
    """Each round runs every call, and another one goes first: no call always finds warm caches."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(timed_ms(calls[name]))
    return Turns(taken)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal columns as text; numbers to three digits."""
    heads = list(rows[0])
    cells = [heads, *[[_cell(row.get(head, "")) for head in heads] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def conclude(goals: Sequence[Goal], as_json: bool, **results: Any) -> int:
    """Print the goals, and the JSON object when it was asked for. The exit status: always 0.

    A missed goal is a finding and not an error: timings depend on what else the machine does.
    """
    print()
    for goal in goals:
        print(goal)
    if as_json:
        told = [asdict(goal) | {"met": goal.met} for goal in goals]
        print(json.dumps({"machine": machine(), **results, "goals": told}))
    return 0


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
