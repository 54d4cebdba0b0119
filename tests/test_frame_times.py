"""Which moments of a video are looked at."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_ui.frame_times import choose, clock, seconds, stamp

tenths = st.integers(0, 50_000).map(lambda n: Fraction(n, 10))


def chosen(start: float, end: float, fps: float = 1, most: int = 16) -> list[float]:
    times = choose(seconds(start), seconds(end), seconds(fps), most).times
    return [float(at) for at in times]


@pytest.mark.parametrize(
    ("start", "end", "fps", "most", "times"),
    [
        (0, 4, 1, 16, [0, 1, 2, 3]),
        (0, 4.1, 1, 16, [0, 1, 2, 3, 4]),
        (0, 0, 1, 16, [0]),  # a single frame without a length
        (0, 1, 2, 16, [0, 0.5]),
        (0, 20, 1, 16, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (0, 10, 1, 1, [0]),
        (0, 60, 0.1, 16, [0, 10, 20, 30, 40, 50]),
        (30, 34, 1, 16, [30, 31, 32, 33]),
        (30.5, 33, 1, 16, [31, 32]),
        (31, 51, 1, 16, [32, 34, 36, 38, 40, 42, 44, 46, 48, 50]),
        (0.2, 0.7, 1, 16, [0.2]),  # between two moments of the grid
        (0.3, 0.5, 10, 16, [0.3, 0.4]),  # where floats would say 0.30000000000000004
    ],
)
def test_moments_lie_on_a_grid_of_the_whole_video(
    start: float, end: float, fps: float, most: int, times: list[float]
) -> None:
    assert chosen(start, end, fps, most) == times


def test_parts_that_overlap_share_their_moments() -> None:
    assert set(chosen(0, 12)) & set(chosen(6, 18)) == {6, 7, 8, 9, 10, 11}


@given(tenths, tenths, st.sampled_from([0.1, 0.5, 1, 2, 7, 10]), st.integers(1, 40))
def test_there_is_at_least_one_and_never_too_many(
    start: Fraction, length: Fraction, fps: float, most: int
) -> None:
    end = start + length
    found = choose(start, end, seconds(fps), most)
    assert 1 <= len(found.times) <= most
    assert all(start <= at < end for at in found.times) or found.times == (start,)
    gaps = {after - before for before, after in zip(found.times, found.times[1:], strict=False)}
    assert gaps <= {found.every_s}
    wanted = length * seconds(fps)
    if wanted > 2 * most:  # long ones are not seen in fewer frames than half of what is allowed
        assert len(found.times) >= most // 2


def test_a_time_is_written_as_qwen_reads_it() -> None:
    assert [stamp(at) for at in (0, 1.0, 2.25, 90)] == [
        "<0.0 seconds>",
        "<1.0 seconds>",
        "<2.2 seconds>",
        "<90.0 seconds>",
    ]


def test_the_stamp_is_that_of_the_native_processor() -> None:
    package = find_spec("transformers")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent / "models/qwen3_vl/processing_qwen3_vl.py"
    assert 'video_placeholder += f"<{curr_time:.1f} seconds>"' in source.read_text()


@pytest.mark.parametrize(
    ("at", "written"),
    [(0, "0:00"), (42.4, "0:42"), (59.6, "1:00"), (600, "10:00"), (3723, "1:02:03")],
)
def test_a_clock_is_read_by_people(at: float, written: str) -> None:
    assert clock(at) == written
