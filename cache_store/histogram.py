"""Durations counted in buckets: fixed memory, and counts of several processes add up."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PER_OCTAVE = 8  # a bucket is 9 % wide, so its middle is at most 4.5 % off
_LEAST_S = 1e-6
_BUCKETS = 28 * _PER_OCTAVE  # up to 268 s; what takes longer is counted in the last one


def bucket(seconds: float) -> int:
    """The bucket of a duration."""
    if seconds <= _LEAST_S:
        return 0
    return min(int(math.log2(seconds / _LEAST_S) * _PER_OCTAVE), _BUCKETS - 1)


def percentile(counts: Mapping[int, float], share: float) -> float:
    """Nearest-rank percentile in seconds (the middle of its bucket); 0 when there is nothing."""
    rank = max(1, math.ceil(share * sum(counts.values())))
    seen = 0.0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= rank:
            return _LEAST_S * math.exp2((number + 0.5) / _PER_OCTAVE)
    return 0.0
