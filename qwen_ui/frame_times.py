"""Which moments of a video are looked at, and how a moment is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Moments in seconds from the start of the video, in order; `every_s` lies between them."""

    times: tuple[Fraction, ...]
    every_s: Fraction


def choose(start_s: Fraction, end_s: Fraction, fps: Fraction, most: int) -> FrameTimes:
    """At least one and at most `most` moments of [start_s, end_s), evenly spread.

    They are multiples of one step that is itself a multiple of 1/fps, counted from the start of the
    video and not of the part: parts that overlap look at the same frames, as far as their step is
    the same. A part between two such moments is seen at its start.
    """
    first, last = math.ceil(start_s * fps), math.ceil(end_s * fps) - 1
    stride = max(1, math.ceil(Fraction(last - first + 1, most)))
    every_s = stride / fps
    steps = range(math.ceil(Fraction(first, stride)), last // stride + 1)
    return FrameTimes(tuple(step * every_s for step in steps) or (start_s,), every_s)


def seconds(value: float) -> Fraction:
    """The decimal that was meant: 0.1 is a tenth."""
    return Fraction(str(value))


def stamp(at_s: float) -> str:
    """How Qwen3-VL reads the time of a frame that follows (`Qwen3VLProcessor.replace_video_token`
    of transformers)."""
    return f"<{at_s:.1f} seconds>"


def clock(at_s: float | Fraction) -> str:
    """For people: 0:42, 1:02:03."""
    minutes, rest = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
