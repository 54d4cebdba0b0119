"""Queries and answers to test with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cache_store.equivalents import wordings
from cache_store.keys import make_key
from cache_store.types import Answer, CacheQuery, FinishReason, ImagePart, MarkPart, TextPart, Turn

ROOT = Path(__file__).parents[2]  # where a second process finds the packages
CAT = "c" * 64
DOG = "d" * 64


def user(*parts: str | ImagePart | MarkPart) -> Turn:
    return Turn("user", tuple(TextPart(p) if isinstance(p, str) else p for p in parts))


QUERY = CacheQuery(
    model="Qwen/Qwen3-VL-4B-Instruct",
    fingerprint="f" * 64,
    turns=(user(ImagePart(CAT), "What is this?"),),
    sampling={"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0},
    max_tokens=100,
)

ANSWER = Answer(
    text="A cat.",
    thought="",
    finish_reason=FinishReason.STOP,
    prompt_tokens=20,
    completion_tokens=4,
    first_token_s=0.5,
    elapsed_s=2.0,
    busy_s=1.5,
)


def query(**changes: Any) -> CacheQuery:
    return replace(QUERY, **changes)


def answer(**changes: Any) -> Answer:
    return replace(ANSWER, **changes)


def asked(*parts: str | ImagePart | MarkPart) -> CacheQuery:
    """The query with other parts in its last turn."""
    return query(turns=(user(*parts),))


def name_of(query: CacheQuery) -> str:
    """The name that the first answer to a question is stored under: all its wordings share it."""
    same = wordings(query, *make_key(query))
    assert same is not None
    return same.name
