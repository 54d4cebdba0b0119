"""Videos in a message, out of its run of times and frames: pairs of frames, as Qwen3-VL has them.

A video begins with its first frame, behind any other part, and where frames change their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from qwen_ui.types import Frame, Image


@dataclass(frozen=True, slots=True)
class Pair:
    """Two frames that the encoder sees as one, at the mean of their times."""

    first: Frame
    second: Frame

    @property
    def at_s(self) -> float:
        return (self.first.at_s + self.second.at_s) / 2


@dataclass(frozen=True, slots=True)
class Clip:
    """One video: frames of one size, at least one."""

    frames: tuple[Frame, ...]

    @property
    def pairs(self) -> Iterator[Pair]:
        """Of an odd number of frames the last one makes a pair with itself, as in transformers."""
        for first, second in zip_longest(self.frames[::2], self.frames[1::2]):
            yield Pair(first, second or first)


def pieces(parts: Sequence[str | Image]) -> list[str | Image | Clip]:
    """The parts of a message with its videos in one piece each; the times before their frames are
    left out. A frame without a time is a picture, as it is in the key."""
    found: list[str | Image | Clip] = []
    for before, part, following in zip((None, *parts), parts, (*parts[1:], None), strict=False):
        if isinstance(part, str) and isinstance(following, Frame):
            continue
        if not (isinstance(part, Frame) and isinstance(before, str)):
            found.append(part)
        elif found and isinstance(found[-1], Clip) and _goes_on(found[-1], part):
            found[-1] = Clip((*found[-1].frames, part))
        else:
            found.append(Clip((part,)))
    return found


def _goes_on(clip: Clip, frame: Frame) -> bool:
    last = clip.frames[-1]
    return frame.place > 0 and (frame.width, frame.height) == (last.width, last.height)
