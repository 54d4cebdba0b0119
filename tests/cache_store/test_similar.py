"""Similar questions are suggested beside a miss: near ones, of one scope, still there, and fast."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cache_store import signatures, similar
from cache_store.cache import ResponseCache, open_cache
from cache_store.keys import make_key
from cache_store.signatures import Known, Scope, signature
from cache_store.stores.base import Stored
from cache_store.types import CacheQuery, Hit, ImagePart, Match, Miss, Suggestion
from tests.cache_store.samples import CAT, DOG, QUERY, answer, asked, name_of
from tests.cache_store.test_cache import NOW, Rig
from tests.cache_store.test_guards import KEPT


@pytest.fixture
def cache() -> Iterator[ResponseCache]:
    cache = open_cache(None)
    yield cache
    cache.close()


def about(question: str, picture: str = CAT) -> CacheQuery:
    return asked(ImagePart(picture), question)


def keep(cache: ResponseCache, *queries: CacheQuery) -> None:
    for query in queries:
        assert cache.store(query, answer()) is not None
    cache._similar.settle()


def suggested(
    cache: ResponseCache, query: CacheQuery, match: Match = Match.EQUIVALENT
) -> list[str]:
    found = cache.lookup(query, match)
    assert isinstance(found, Miss)
    return [suggestion.question for suggestion in found.similar]


# --- what is suggested -------------------------------------------------------------------------


def test_a_question_in_other_words_is_suggested_with_its_age_and_its_entry() -> None:
    rig = Rig()
    kept = about("What colour is the car?")
    keep(rig.cache, kept)
    rig.clock.now = NOW + 40
    found = rig.cache.lookup(about("What is the color of the car?"))
    assert isinstance(found, Miss)
    assert found.similar == (Suggestion(kept_text(kept), 40.0, name_of(kept)),)


def kept_text(query: CacheQuery) -> str:
    text = similar.question_of(query)
    assert text is not None
    return text


def test_most_rewordings_are_suggested(cache: ResponseCache) -> None:
    found = 0
    for number, (one, other) in enumerate(KEPT):
        keep(cache, about(one, f"{number:064}"))
        found += suggested(cache, about(other, f"{number:064}"), Match.EXACT) == [one]
    assert found >= 0.85 * len(KEPT)  # the others lie further apart than SimHash sees


@pytest.mark.parametrize(
    "question",
    ["What is right of the red car?", "What is left of the blue car?", "What is not left of it?"],
)
def test_what_the_guards_drop_is_not_suggested(cache: ResponseCache, question: str) -> None:
    keep(cache, about("What is left of the red car?"))
    assert suggested(cache, about(question)) == []


def test_a_suggestion_is_never_a_hit(cache: ResponseCache) -> None:
    keep(cache, about("What colour is the car?"))
    for _ in range(5):
        assert isinstance(cache.lookup(about("What is the colour of the car?")), Miss)
    assert cache.stats().hits == 0


def test_at_most_three_are_suggested_the_nearest_first(cache: ResponseCache) -> None:
    keep(
        cache,
        about("What is the colour of this car, please tell me?"),
        about("What colour is the car?"),
        about("What color is the car?"),
        about("what colour is this car"),
        about("What colour's the car?"),
    )
    found = suggested(cache, about("What colour is that car?"))
    assert len(found) == 3
    asking = signature("What colour is that car?")
    distances = [(asking ^ signature(question)).bit_count() for question in found]
    assert distances == sorted(distances)
    assert "What is the colour of this car, please tell me?" not in found


def test_the_same_words_are_no_suggestion(cache: ResponseCache) -> None:
    keep(cache, QUERY)
    assert suggested(cache, replace(QUERY, max_tokens=1)) == []  # a miss: its answer is longer


def test_only_questions_with_one_text_of_a_sensible_length_are_compared(
    cache: ResponseCache,
) -> None:
    two_texts = asked(ImagePart(CAT), "What colour is", "the car?")
    long = about("What colour is the car? " * 40)
    keep(cache, two_texts, long, about("What colour is the car?"))
    assert suggested(cache, asked(ImagePart(CAT), "What color is", "the car?")) == []
    assert suggested(cache, about("What color is the car? " * 40)) == []
    assert suggested(cache, about("What color is the car?")) == ["What colour is the car?"]


# --- whose questions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        about("What colour is the car?", DOG),
        replace(about("What colour is the car?"), model="other"),
        replace(about("What colour is the car?"), fingerprint="other"),
        replace(about("What colour is the car?"), namespace="someone"),
        replace(about("What colour is the car?"), sampling={}),
    ],
)
def test_nothing_of_another_scope_is_suggested(cache: ResponseCache, other: CacheQuery) -> None:
    keep(cache, other)
    assert suggested(cache, about("What is the colour of the car?")) == []


def test_a_wrong_tag_does_not_carry_a_question_into_another_scope(cache: ResponseCache) -> None:
    theirs = replace(about("What colour is the car?"), namespace="someone")
    keep(cache, theirs)
    stored = cache._store.read(name_of(theirs))
    assert stored is not None
    mine = about("What is the colour of the car?")
    tags = (f"scope:{make_key(mine)[0].scope}",)
    cache._store.put("planted", Stored(stored.value, stored.expires_at, tags))
    assert suggested(cache, mine) == []


# --- what is gone ------------------------------------------------------------------------------


def test_what_is_expired_deleted_or_cleared_is_not_suggested() -> None:
    rig = Rig()
    again = about("What is the colour of the car?")

    def fresh() -> None:
        rig.clock.now = NOW
        keep(rig.cache, about("What colour is the car?"))
        assert suggested(rig.cache, again) == ["What colour is the car?"]

    fresh()
    rig.clock.now = NOW + 101
    assert suggested(rig.cache, again) == []
    fresh()
    rig.cache._store.delete(name_of(about("What colour is the car?")))
    assert suggested(rig.cache, again) == []
    fresh()
    rig.cache.clear()
    assert suggested(rig.cache, again) == []


def test_a_broken_store_suggests_nothing_and_breaks_nothing() -> None:
    rig = Rig()
    keep(rig.cache, about("What colour is the car?"))
    rig.l1.clear()
    rig.l2.broken = True
    assert suggested(rig.cache, about("What is the colour of the car?")) == []


# --- what was stored before --------------------------------------------------------------------


def test_questions_of_before_a_restart_are_suggested(tmp_path: Path) -> None:
    for _ in range(2):
        cache = open_cache(tmp_path)
        keep(cache, about("What colour is the car?"))
        cache.close()
    cache = open_cache(tmp_path)
    again = about("What is the colour of the car?")
    suggested(cache, again)  # the first miss waits some milliseconds for the store, no longer
    cache._similar.settle()
    assert suggested(cache, again) == ["What colour is the car?"]
    cache.close()


def test_questions_of_another_process_are_found_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = open_cache(tmp_path), open_cache(tmp_path)
    again = about("What is the colour of the car?")
    assert suggested(mine, again) == []
    mine._similar.settle()  # the store was read
    keep(theirs, about("What colour is the car?"))
    theirs.close()  # what was written behind is on the disk
    assert suggested(mine, again) == []
    monkeypatch.setattr(similar, "_FRESH_S", 0.0)
    suggested(mine, again)
    mine._similar.settle()
    assert suggested(mine, again) == ["What colour is the car?"]
    mine.close()


def test_a_slow_store_delays_the_first_miss_by_milliseconds_only() -> None:
    rig = Rig()
    keep(rig.cache, about("What colour is the car?"))
    rig.cache._similar.clear()
    gate = threading.Event()
    real = rig.cache._store.names

    def slow(tag: str | None = None, limit: int | None = None) -> Iterator[str]:
        assert gate.wait(20)
        return real(tag, limit)

    rig.cache._store.names = slow  # type: ignore[method-assign]
    again = about("What is the colour of the car?")
    assert suggested(rig.cache, again) == []  # would hang if it waited for the store
    gate.set()
    rig.cache._similar.settle()
    assert suggested(rig.cache, again) == ["What colour is the car?"]


def test_damaged_entries_of_a_scope_are_passed_over(cache: ResponseCache) -> None:
    again = about("What is the colour of the car?")
    tags = (f"scope:{make_key(again)[0].scope}",)
    cache._store.put("damaged", Stored(b"QCE1 nonsense", 2e12, tags))
    keep(cache, about("What colour is the car?"))
    assert suggested(cache, again) == ["What colour is the car?"]


# --- bounds ------------------------------------------------------------------------------------


def test_a_full_scope_lets_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_MOST", 20)
    scope = Scope()
    for number in range(50):
        scope.add(Known(str(number), f"question {number}", number, 1e12), number)
    assert len(scope) == 20
    assert {str(n) for n in range(50) if str(n) in scope} == {str(n) for n in range(30, 50)}
    assert scope.nearest(45)[0].name == "45"


def test_an_entry_that_is_stored_again_is_one_question() -> None:
    scope = Scope()
    for created in (1.0, 2.0):
        scope.add(Known("a", "question", created, 1e12), 7)
    assert [known.created_at for known in scope.nearest(7)] == [2.0]


def test_scopes_and_questions_are_bounded(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "_QUESTIONS", 30)
    monkeypatch.setattr(similar, "_SCOPES", 12)
    for picture in range(40):
        keep(cache, *(about(f"What is {n}?", f"{picture:064}") for n in range(5)))
        suggested(cache, about("Who?", f"{picture + 1000:064}"))
    index = cache._similar
    assert len(index._scopes) <= 12
    assert index._count == sum(map(len, index._scopes.values())) <= 30


def test_nothing_is_indexed_after_the_cache_is_closed() -> None:
    cache = open_cache(None)
    cache.close()
    cache.store(QUERY, answer())
    assert isinstance(cache.lookup(about("What is that?")), Hit | Miss)


def test_many_threads_store_and_look_up(
    cache: ResponseCache, repetitions: Callable[[int], int]
) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for n in range(repetitions(300)):
                cache.store(about(f"What is {n} of {seed}?", f"{n % 7:064}"), answer())
                cache.lookup(about(f"What is the {n} of {seed}?", f"{n % 7:064}"))
                if n % 50 == 49:
                    cache.clear()
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    cache._similar.settle()
    index = cache._similar
    assert index._count == sum(map(len, index._scopes.values()))
