"""Buckets lose less than five percent."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.histogram import bucket, percentile


@given(st.floats(min_value=1.2e-6, max_value=250))
def test_a_duration_comes_back_within_five_percent(seconds: float) -> None:
    assert percentile({bucket(seconds): 1}, 0.5) == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e-6])
def test_what_is_too_short_to_measure_counts_as_a_microsecond(seconds: float) -> None:
    assert percentile({bucket(seconds): 1}, 0.5) == pytest.approx(1e-6, rel=0.05)


def test_what_takes_for_ever_is_counted_in_the_last_bucket() -> None:
    assert bucket(1e9) == bucket(300.0) > bucket(200.0)


@given(st.lists(st.floats(min_value=1e-5, max_value=100), min_size=1), st.floats(0, 1))
def test_a_percentile_is_that_of_the_sorted_list(values: list[float], share: float) -> None:
    ranked = sorted(values)
    expected = {ranked[min(int(share * len(values)) + shift, len(values) - 1)] for shift in (-1, 0)}
    found = percentile(Counter(bucket(value) for value in values), share)
    assert any(found == pytest.approx(value, rel=0.05) for value in expected)


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile({}, 0.95) == 0.0
