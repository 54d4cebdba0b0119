"""The bound is the one that textbooks print."""

from __future__ import annotations

import math

import pytest

from cache_store.bounds import upper_bound


def test_nothing_seen_has_a_closed_form() -> None:
    for trials in (1, 10, 59, 1000, 10**7):
        assert upper_bound(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials), rel=1e-6)
    assert upper_bound(0, 59) < 0.05 < upper_bound(0, 58)  # the rule of 59


@pytest.mark.parametrize(
    ("seen", "trials", "bound"),
    [(1, 10, 0.39416), (2, 20, 0.28262), (5, 100, 0.10225), (1, 1000, 0.0047349)],
)
def test_it_agrees_with_published_values(seen: int, trials: int, bound: float) -> None:
    assert upper_bound(seen, trials) == pytest.approx(bound, rel=1e-4)


@pytest.mark.parametrize(("seen", "trials"), [(1, 2), (3, 50), (40, 90), (7, 100_000)])
def test_at_the_bound_so_few_are_exactly_five_percent_likely(seen: int, trials: int) -> None:
    rate = upper_bound(seen, trials)
    likely = math.fsum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(seen + 1)
    )
    assert likely == pytest.approx(0.05, rel=1e-5)


def test_without_trials_or_without_success_nothing_is_excluded() -> None:
    assert upper_bound(0, 0) == upper_bound(3, 3) == 1.0


def test_more_proof_lowers_it_and_more_mismatches_raise_it() -> None:
    assert upper_bound(1, 200) < upper_bound(1, 100) < upper_bound(2, 100)
