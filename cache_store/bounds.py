"""How often something can still happen that was seen k times in n trials."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def upper_bound(seen: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided exact binomial bound of Clopper and Pearson (Biometrika 26, 1934).

    The largest rate at which `seen` or fewer in `trials` is not yet less likely than
    1 - confidence. For none seen it is 1 - (1 - confidence) ** (1 / trials).
    """
    if seen >= trials:
        return 1.0
    unlikely = 1 - confidence
    if seen == 0:
        return -math.expm1(math.log(unlikely) / trials)
    low, high = seen / trials, 1.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _at_most(seen, trials, middle) > unlikely:
            low = middle
        else:
            high = middle
    return high


def _at_most(seen: int, trials: int, rate: float) -> float:
    """P(X <= seen) for X binomial; in logarithms, so that no factor overflows."""
    yes, no = math.log(rate), math.log1p(-rate)
    every = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            every - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * yes + (trials - k) * no
        )
        for k in range(seen + 1)
    )
