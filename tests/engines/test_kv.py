"""The cache that grows in place holds what a DynamicCache holds, and lends nothing to write on."""

from __future__ import annotations

import pytest
import torch
from transformers import Cache, DynamicCache

from qwen_ui.engines.kv import copy_out, open_cache

LAYERS, HEADS, WIDTH = 2, 3, 8
DEVICES = [torch.device("cpu")] * LAYERS


def states(tokens: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, 1, HEADS, tokens, WIDTH, generator=chance)
    return keys, values


def feed(cache: Cache, *lengths: int, seed: int = 0) -> None:
    for number, length in enumerate(lengths):
        for layer in range(LAYERS):
            cache.update(*states(length, seed + 10 * number + layer), layer)


def equal(one: Cache, other: Cache) -> bool:
    return all(
        torch.equal(mine.keys, its.keys) and torch.equal(mine.values, its.values)
        for mine, its in zip(one.layers, other.layers, strict=True)
    )


@pytest.mark.parametrize("lengths", [(5,), (1, 1, 1), (1000, 24, 1), (1020, 3000, 1, 1)])
def test_it_holds_what_a_dynamic_cache_holds(lengths: tuple[int, ...]) -> None:
    ours, theirs = open_cache(DEVICES, []), DynamicCache()
    feed(ours, *lengths)
    feed(theirs, *lengths)
    assert equal(ours, theirs)
    assert ours.get_seq_length() == theirs.get_seq_length() == sum(lengths)
    assert ours.get_mask_sizes(3, 0) == theirs.get_mask_sizes(3, 0)


def test_a_token_is_written_in_place() -> None:
    cache = open_cache(DEVICES, [])
    feed(cache, 10)
    before = cache.layers[0].keys.data_ptr()
    feed(cache, 1, 1, 1)
    assert cache.layers[0].keys.data_ptr() == before


def test_a_cache_goes_on_from_copies_of_parts() -> None:
    whole = open_cache(DEVICES, [])
    feed(whole, 700, 500)
    parts = [copy_out(whole, 0, 700), copy_out(whole, 700, 1200)]
    again = open_cache(DEVICES, parts)
    assert equal(again, whole)
    feed(again, 3, seed=5)
    feed(whole, 3, seed=5)
    assert equal(again, whole)


def test_strides_follow_from_the_length_alone() -> None:
    slowly, at_once = open_cache(DEVICES, []), open_cache(DEVICES, [])
    feed(slowly, 600, 600, 1)
    feed(at_once, 1201)
    assert slowly.layers[0].keys.stride() == at_once.layers[0].keys.stride()


def test_writing_on_changes_no_copy() -> None:
    cache = open_cache(DEVICES, [])
    feed(cache, 10)
    part = copy_out(cache, 2, 6)
    before = [keys.clone() for keys, _ in part.layers]
    for layer in cache.layers:
        layer.keys.zero_()
    warm = open_cache(DEVICES, [part])
    feed(warm, 4, seed=9)
    warm.layers[0].keys.zero_()
    assert all(torch.equal(keys, old) for (keys, _), old in zip(part.layers, before, strict=True))


def test_a_part_counts_its_bytes_and_holds_no_more() -> None:
    cache = open_cache(DEVICES, [])
    feed(cache, 100)
    part = copy_out(cache, 10, 30)
    assert part.nbytes == LAYERS * 2 * HEADS * 20 * WIDTH * 4
    held = sum(tensor.untyped_storage().nbytes() for layer in part.layers for tensor in layer)
    assert held == part.nbytes
    assert part.on_host
