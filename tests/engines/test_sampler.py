"""Choosing tokens."""

from __future__ import annotations

from collections import Counter

import torch

from qwen_ui.engines.base import Sampling
from qwen_ui.engines.sampler import Sampler

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.9, -1.0])


def draws(sampling: Sampling, count: int = 400, suppressed: tuple[int, ...] = ()) -> list[int]:
    sampler = Sampler(sampling, suppressed)
    return [sampler.choose(LOGITS) for _ in range(count)]


def test_greedy_takes_the_likeliest() -> None:
    assert set(draws(Sampling())) == {1}


def test_suppressed_ids_are_never_chosen() -> None:
    assert set(draws(Sampling(), suppressed=(1,))) == {3}
    assert 1 not in draws(Sampling(temperature=5.0), suppressed=(1,))


def test_the_seed_decides_and_the_process_wide_generator_does_not() -> None:
    first = draws(Sampling(temperature=1.0, seed=7))
    torch.manual_seed(99)
    assert draws(Sampling(temperature=1.0, seed=7)) == first
    assert draws(Sampling(temperature=1.0, seed=8)) != first


def test_drawing_leaves_the_process_wide_generator_alone() -> None:
    before = torch.get_rng_state()
    draws(Sampling(temperature=1.0, seed=7))
    assert torch.equal(torch.get_rng_state(), before)


def test_top_k_and_top_p_cut_the_tail() -> None:
    assert set(draws(Sampling(temperature=1.0, top_k=2))) == {1, 3}
    assert set(draws(Sampling(temperature=1.0, top_p=0.5))) <= {1, 3}


def test_shares_follow_the_softmax() -> None:
    counts = Counter(draws(Sampling(temperature=1.0, seed=1), count=4000))
    expected = LOGITS.softmax(0)
    for token, share in enumerate(expected.tolist()):
        assert abs(counts[token] / 4000 - share) < 0.03


def test_logits_are_not_changed() -> None:
    before = LOGITS.clone()
    draws(Sampling(temperature=0.5, top_k=2), suppressed=(1,))
    assert torch.equal(LOGITS, before)
