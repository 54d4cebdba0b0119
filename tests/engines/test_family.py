"""The published models by their names."""

from __future__ import annotations

import pytest

from qwen_ui.engines.family import MODELS, full_name, published


def test_there_are_six_sizes_of_two_kinds_each_also_in_fp8() -> None:
    names = [model.hub_name for model in MODELS]
    assert len(set(names)) == 24
    for name in (
        "Qwen/Qwen3-VL-2B-Instruct",
        "Qwen/Qwen3-VL-4B-Thinking",
        "Qwen/Qwen3-VL-8B-Instruct-FP8",
        "Qwen/Qwen3-VL-32B-Thinking-FP8",
        "Qwen/Qwen3-VL-30B-A3B-Instruct",
        "Qwen/Qwen3-VL-235B-A22B-Thinking-FP8",
    ):
        assert name in names


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("4b", "Qwen/Qwen3-VL-4B-Instruct"),
        ("4B", "Qwen/Qwen3-VL-4B-Instruct"),
        ("8b-thinking", "Qwen/Qwen3-VL-8B-Thinking"),
        ("2b-fp8", "Qwen/Qwen3-VL-2B-Instruct-FP8"),
        ("32b-thinking-fp8", "Qwen/Qwen3-VL-32B-Thinking-FP8"),
        ("30b", "Qwen/Qwen3-VL-30B-A3B-Instruct"),
        ("30b-a3b-thinking", "Qwen/Qwen3-VL-30B-A3B-Thinking"),
        ("235b-a22b-fp8", "Qwen/Qwen3-VL-235B-A22B-Instruct-FP8"),
        ("Qwen3-VL-4B-Thinking", "Qwen/Qwen3-VL-4B-Thinking"),
    ],
)
def test_a_short_name_is_enough(short: str, name: str) -> None:
    assert full_name(short) == name
    assert published(name) is not None


@pytest.mark.parametrize(
    "name",
    ["demo", "7b", "4b-chat", "30b-a22b", "4b-fp8-thinking", "org/4b", "./4b", "4b-", ""],
)
def test_any_other_name_stays_as_it_is(name: str) -> None:
    assert full_name(name) == name
    assert published(name) is None


def test_the_weights_are_two_bytes_a_parameter_and_about_one_in_fp8() -> None:
    gigabytes = {
        name: published(f"Qwen/Qwen3-VL-{name}")
        for name in ("4B-Instruct", "4B-Instruct-FP8", "235B-A22B-Thinking")
    }
    told = [round(model.weight_bytes / 1e9, 1) for model in gigabytes.values() if model]
    assert told == [8.9, 5.2, 471.3]
