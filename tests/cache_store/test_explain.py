"""Why a miss: the first field that differs from the nearest entry, and nobody else's entries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cache_store import keys
from cache_store.cache import ResponseCache, open_cache
from cache_store.database import Database
from cache_store.explain import Explanation, Field
from cache_store.stores.base import Stored
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.tags import model_tag
from cache_store.types import CacheQuery, FinishReason, ImagePart, MarkPart, Miss, TextPart, Turn
from tests.cache_store.samples import CAT, DOG, QUERY, answer, asked, query, user


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResponseCache]:
    cache = open_cache(tmp_path if request.param == "disk" else None)
    yield cache
    cache.close()


def explained(cache: ResponseCache, query: CacheQuery) -> Explanation:
    found = cache.explain(query)
    assert found is not None
    return found


def hot(**changes: Any) -> CacheQuery:
    return query(sampling={**QUERY.sampling, **changes})


NO_HISTORY = user(ImagePart(CAT), "Hello."), Turn("assistant", (TextPart("Hi."),))


@pytest.mark.parametrize(
    ("asking", "field", "said", "kept"),
    [
        (query(model="other"), Field.MODEL, "other", "Qwen/Qwen3-VL-4B-Instruct"),
        (query(fingerprint="e" * 64), Field.ENGINE, "e" * 12, "f" * 12),
        (hot(temperature=0.7), Field.SAMPLING, "temperature=0.7", "temperature=0.0"),
        (hot(new=1), Field.SAMPLING, "new=1", ""),
        (query(turns=(*NO_HISTORY, *QUERY.turns)), Field.HISTORY, "1. user: Hello.", ""),
        (asked(ImagePart(DOG), "What is this?"), Field.PICTURES, "d" * 12, "c" * 12),
        (
            asked(ImagePart(CAT), ImagePart(DOG), "What is this?"),
            Field.PICTURES,
            f"{'c' * 12}, {'d' * 12}",
            "c" * 12,
        ),
        (
            asked("What is this?", ImagePart(CAT)),
            Field.ORDER,
            "user, text, picture 1",
            "user, picture 1, text",
        ),
        (
            asked(MarkPart("<0.0 seconds>"), ImagePart(CAT), "What is this?"),
            Field.ORDER,
            "user, <0.0 seconds>, picture 1, text",
            "user, picture 1, text",
        ),
        (asked(ImagePart(CAT), "Who is this?"), Field.QUESTION, "Who is this?", "What is this?"),
        (query(max_tokens=2), Field.MAX_TOKENS, "2", "stop:4"),
    ],
)
def test_one_changed_field_is_named(
    cache: ResponseCache, asking: CacheQuery, field: Field, said: str, kept: str
) -> None:
    cache.store(QUERY, answer())
    assert isinstance(cache.lookup(asking), Miss)
    found = explained(cache, asking)
    assert (found.field, found.also) == (field, ()) or field is Field.PICTURES
    assert (found.asked, found.kept) == (said, kept)
    assert found.looked_at == 1
    assert 0 <= found.age_s < 60


def test_the_first_of_several_differences_is_named_and_the_others_follow(
    cache: ResponseCache,
) -> None:
    cache.store(QUERY, answer())
    other = replace(asked(ImagePart(CAT), "Who?"), model="other", fingerprint="other")
    found = explained(cache, other)
    assert found.field is Field.MODEL
    assert found.also == (Field.ENGINE, Field.QUESTION)


def test_the_nearest_entry_is_the_one_with_the_fewest_differences(cache: ResponseCache) -> None:
    cache.store(replace(asked(ImagePart(CAT), "Who?"), fingerprint="older"), answer())
    cache.store(query(fingerprint="older"), answer())
    cache.store(hot(temperature=1.0), answer())
    cache.store(asked(ImagePart(CAT), "What is that over there, please?"), answer())
    cache.store(asked(ImagePart(CAT), "What is that?"), answer())
    found = explained(cache, QUERY)
    assert (found.field, found.kept) == (Field.QUESTION, "What is that?")
    assert found.looked_at == 5


def test_an_answer_that_was_cut_says_its_length(cache: ResponseCache) -> None:
    cut = answer(finish_reason=FinishReason.LENGTH, completion_tokens=50)
    cache.store(query(max_tokens=50), cut)
    found = explained(cache, query(max_tokens=80))
    assert (found.field, found.asked, found.kept) == (Field.MAX_TOKENS, "80", "length:50")


def test_what_would_be_a_hit_by_now_is_said_to_be_one(cache: ResponseCache) -> None:
    cache.store(QUERY, answer())
    assert explained(cache, QUERY).field is Field.NOTHING


def test_an_empty_cache_has_nothing_near(cache: ResponseCache) -> None:
    assert cache.explain(QUERY) is None
    cache.store(replace(asked(ImagePart(DOG), "Who?"), model="other"), answer())
    assert cache.explain(QUERY) is None  # shares no picture and no model


def test_entries_of_another_namespace_are_never_told(cache: ResponseCache) -> None:
    cache.store(query(namespace="someone else"), answer())
    assert cache.explain(query(namespace="me")) is None
    assert cache.explain(QUERY) is None


def test_entries_of_an_older_key_are_told_when_nothing_else_is_near(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(keys, "VERSION", "key-of-last-year")
        older.setattr(keys, "_OURS", keys.encode(["key-of-last-year"]))
        cache.store(QUERY, answer())
    found = explained(cache, QUERY)
    assert (found.field, found.kept) == (Field.VERSION, "key-of-last-year")
    cache.store(asked(ImagePart(CAT), "Who is this?"), answer())
    assert explained(cache, QUERY).field is Field.QUESTION


def test_damaged_entries_are_passed_over(cache: ResponseCache) -> None:
    tags = (f"model:{QUERY.model}",)
    cache._store.put("damaged", Stored(b"QCE1 nonsense", 2e12, tags))
    assert cache.explain(QUERY) is None


def test_a_crowd_of_entries_is_not_read_whole(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(400):
        cache.store(asked(ImagePart(DOG), f"Question {number}?"), answer())
    reads = 0
    real = cache._store.read

    def counting(name: str) -> Stored | None:
        nonlocal reads
        reads += 1
        return real(name)

    monkeypatch.setattr(cache._store, "read", counting)
    found = explained(cache, asked(ImagePart(CAT), "Question 0?"))
    assert found.field is Field.PICTURES
    assert reads == found.looked_at <= 300


def test_asking_why_changes_no_figure_and_promotes_nothing(tmp_path: Path) -> None:
    with_entry = open_cache(tmp_path)
    with_entry.store(QUERY, answer())
    with_entry.close()
    cache = open_cache(tmp_path)
    before = cache.stats()
    explained(cache, asked(ImagePart(CAT), "Who?"))
    after = cache.stats()
    assert (after.hits, after.misses, after.memory_entries) == (before.hits, before.misses, 0)
    cache.close()


def test_what_was_stored_after_a_lookup_is_no_reason_for_its_miss(cache: ResponseCache) -> None:
    cache.store(query(model="other"), answer())
    missed_at = time.time()
    while time.time() <= missed_at:
        pass
    cache.store(QUERY, answer())
    assert explained(cache, QUERY).field is Field.NOTHING
    before = cache.explain(QUERY, missed_at)
    assert before is not None
    assert (before.field, before.kept) == (Field.MODEL, "other")


def test_an_answer_whose_time_is_up_is_said_to_be_expired() -> None:
    store = TieredStore(MemoryStore(2**20, lambda: 0.0), None)  # keeps everything
    cache = ResponseCache(store, Database(None))
    cache.store(QUERY, answer(), ttl_s=0.01)
    time.sleep(0.02)
    assert explained(cache, QUERY).field is Field.EXPIRED
    cache.close()


def test_a_lookup_knows_an_expired_answer_from_one_that_never_was() -> None:
    clock = [1_000_000.0]
    store = TieredStore(MemoryStore(2**20, lambda: clock[0]), None)
    cache = ResponseCache(store, Database(None), now=lambda: clock[0])
    cache.store(QUERY, answer(), ttl_s=60.0)
    cache._similar.settle()
    clock[0] += 61.0
    told = [cache.lookup(q) for q in (QUERY, asked(ImagePart(CAT), "What is this thing?"))]
    assert [found.why for found in told if isinstance(found, Miss)] == ["expired", "absent"]
    cache.forget(model_tag(QUERY.model))
    again = cache.lookup(QUERY)
    assert isinstance(again, Miss)
    assert again.why == "absent"
    cache.close()
