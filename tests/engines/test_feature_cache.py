"""Which encoded pictures are kept."""

from __future__ import annotations

import torch

from qwen_ui.engines.feature_cache import FeatureCache
from qwen_ui.engines.features import Features
from qwen_ui.engines.prompt import PictureKey

CAT, DOG, COW = (PictureKey(name, (1, 8, 6)) for name in ("cat", "dog", "cow"))
SIZE = 3 * 4 * 8 * 4


def features(fill: float = 0.0) -> Features:
    one = torch.full((4, 8), fill)
    return Features(one, (one.clone(), one.clone()))


def known(cache: FeatureCache, *keys: PictureKey) -> list[bool]:
    return [cache.get("", key) is not None for key in keys]


def test_a_picture_is_known_by_pixels_and_grid() -> None:
    cache = FeatureCache(10 * SIZE)
    kept = features()
    cache.add("", CAT, kept, 1.0)
    assert cache.get("", CAT) is kept
    assert known(cache, DOG, PictureKey("cat", (1, 6, 8))) == [False, False]


def test_a_picture_is_known_to_its_own_scope_only() -> None:
    cache = FeatureCache(10 * SIZE)
    cache.add("me", CAT, features(), 1.0)
    assert cache.get("you", CAT) is None


def test_the_budget_holds_and_what_was_cheapest_to_make_goes() -> None:
    cache = FeatureCache(2 * SIZE)
    for key, cost_s in ((CAT, 2.0), (DOG, 1.0), (COW, 3.0)):
        cache.add("", key, features(), cost_s)
    assert cache.nbytes == 2 * SIZE
    assert known(cache, CAT, DOG, COW) == [True, False, True]


def test_of_equal_ones_the_one_used_longest_ago_goes() -> None:
    cache = FeatureCache(2 * SIZE)
    cache.add("", CAT, features(), 1.0)
    cache.add("", DOG, features(), 1.0)
    cache.get("", CAT)
    cache.add("", COW, features(), 1.0)
    assert known(cache, CAT, DOG, COW) == [True, False, True]


def test_what_is_more_than_the_budget_is_not_kept() -> None:
    cache = FeatureCache(SIZE - 1)
    cache.add("", CAT, features(), 1.0)
    assert (cache.nbytes, known(cache, CAT)) == (0, [False])


def test_a_part_has_the_tokens_asked_for_at_every_layer() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 8)
    part = Features(rows, (rows, rows)).part(1, 3, torch.device("cpu"))
    assert [layer[0][:, 0].tolist() for layer in part.deepstack_features] == [[1, 2], [1, 2]]
    assert part.pooler_output[0][:, 0].tolist() == [1, 2]
