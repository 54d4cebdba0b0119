"""Equivalent hits: another wording in the same scope, labelled, and never across a scope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cache_store import codec, equivalents
from cache_store.cache import ResponseCache
from cache_store.database import Database
from cache_store.equivalents import wordings
from cache_store.keys import make_key
from cache_store.stores.base import Stored
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.types import (
    CacheEntry,
    CachePolicy,
    CacheQuery,
    FinishReason,
    Hit,
    ImagePart,
    MarkPart,
    Match,
    Miss,
    Tier,
)
from tests.cache_store.samples import CAT, DOG, QUERY, answer, asked, query, user

ASKED = "What is this?"
OTHER = asked(ImagePart(CAT), "Please, what's this")  # another wording of QUERY
THIRD = asked(ImagePart(CAT), "WHAT IS THIS?")
NOW = 1_000_000.0


class Rig:
    def __init__(self) -> None:
        self.now = NOW
        self.l1 = MemoryStore(2**20, lambda: self.now)
        self.l2 = MemoryStore(2**20, lambda: self.now)
        store, policy = TieredStore(self.l1, self.l2), CachePolicy(ttl_s=100)
        self.cache = ResponseCache(store, Database(None), policy, lambda: self.now)

    def keep(self, query: CacheQuery, text: str, **changes: object) -> None:
        assert self.cache.store(query, answer(text=text, **changes)) is not None

    def served(self, query: CacheQuery, match: Match = Match.EQUIVALENT) -> tuple[str, Match, str]:
        """What is served, how it fits, and to which question it was given."""
        found = self.cache.lookup(query, match)
        assert isinstance(found, Hit), found
        return found.entry.answer.text, found.match, found.question

    def misses(self, query: CacheQuery, match: Match = Match.EQUIVALENT) -> bool:
        return isinstance(self.cache.lookup(query, match), Miss)

    def shared_name(self, query: CacheQuery = QUERY) -> str:
        same = wordings(query, *make_key(query))
        assert same is not None
        return same.name


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.cache.close()


def test_another_wording_gets_the_answer_with_the_question_that_it_was_given_to(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    assert rig.served(QUERY) == ("A cat.", Match.EXACT, "")
    assert rig.served(OTHER) == ("A cat.", Match.EQUIVALENT, ASKED)


def test_exact_turns_equivalent_hits_off(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    assert rig.misses(OTHER, Match.EXACT)
    assert rig.served(QUERY, Match.EXACT) == ("A cat.", Match.EXACT, "")


def test_a_wording_that_was_asked_in_its_own_right_has_its_own_answer(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    rig.keep(OTHER, "It is a cat.")
    assert rig.served(QUERY) == ("A cat.", Match.EXACT, "")
    assert rig.served(OTHER) == ("It is a cat.", Match.EXACT, "")
    assert rig.served(OTHER, Match.EXACT)[0] == "It is a cat."


def test_the_first_wording_serves_the_others_until_it_ends(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    rig.now += 60
    rig.keep(OTHER, "It is a cat.")
    assert rig.served(THIRD) == ("A cat.", Match.EQUIVALENT, ASKED)
    rig.now += 50
    assert rig.misses(THIRD)
    rig.keep(THIRD, "CAT.")
    assert rig.served(QUERY) == ("CAT.", Match.EQUIVALENT, "WHAT IS THIS?")
    assert rig.served(OTHER) == ("It is a cat.", Match.EXACT, "")


def test_asking_again_replaces_the_answer_of_that_wording_only(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    rig.keep(OTHER, "It is a cat.")
    rig.keep(QUERY, "A tabby.")
    rig.keep(OTHER, "It is a tabby.")
    assert rig.served(QUERY)[0] == "A tabby."
    assert rig.served(OTHER)[0] == "It is a tabby."


def test_an_equivalent_answer_ends_with_its_own_time_and_no_hit_moves_it(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    for _ in range(9):
        rig.now += 11
        rig.l1.clear()
        found = rig.cache.lookup(OTHER)
        assert isinstance(found, Hit)
        assert found.ttl_s == NOW + 100 - rig.now
    rig.now += 2
    assert rig.misses(OTHER)


@pytest.mark.parametrize(
    "other",
    [
        asked(ImagePart(DOG), "what is this"),
        asked("what is this", ImagePart(CAT)),
        asked("what is this"),
        query(turns=(user(ImagePart(CAT), "what is this"),), model="other"),
        query(turns=(user(ImagePart(CAT), "what is this"),), fingerprint="other"),
        query(turns=(user(ImagePart(CAT), "what is this"),), namespace="bob"),
        query(turns=(user(ImagePart(CAT), "what is this"),), sampling={"seed": 1}),
        query(turns=(user("hi"), user(ImagePart(CAT), "what is this"))),
    ],
)
def test_no_other_scope_is_ever_reached(rig: Rig, other: CacheQuery) -> None:
    rig.keep(QUERY, "A cat.")
    assert rig.misses(other)


def test_earlier_turns_compare_to_the_letter(rig: Rig) -> None:
    rig.keep(query(turns=(user("Hello."), user("Why?"))), "So.")
    assert rig.served(query(turns=(user("Hello."), user("why")))) == (
        "So.", Match.EQUIVALENT, "Why?"
    )  # fmt: skip
    assert rig.misses(query(turns=(user("Hello"), user("why"))))
    assert rig.misses(query(turns=(user("Hello"), user("Why?"))))


def test_a_turn_of_several_texts_has_no_other_wording(rig: Rig) -> None:
    rig.keep(asked("What is", ImagePart(CAT), "this?"), "A cat.")
    assert rig.misses(asked("what is", ImagePart(CAT), "this"))
    rig.keep(asked("What is this?", "Now."), "A cat.")
    assert rig.misses(asked("what is this", "now"))
    assert rig.served(asked("What is this?", "Now.")) == ("A cat.", Match.EXACT, "")


def test_marks_belong_to_the_scope_and_leave_the_question_its_other_wordings(rig: Rig) -> None:
    rig.keep(asked(MarkPart("<0.0 seconds>"), ImagePart(CAT), "What is this?"), "A cat.")
    again = asked(MarkPart("<0.0 seconds>"), ImagePart(CAT), "what is this")
    assert rig.served(again) == ("A cat.", Match.EQUIVALENT, "What is this?")
    assert rig.misses(asked(MarkPart("<1.0 seconds>"), ImagePart(CAT), "What is this?"))
    assert rig.misses(asked(ImagePart(CAT), "What is this?"))


def test_the_token_limit_rules_over_equivalent_answers_too(rig: Rig) -> None:
    cut = {"finish_reason": FinishReason.LENGTH, "completion_tokens": 3}
    rig.keep(query(max_tokens=3), "A c", **cut)
    turns = OTHER.turns
    assert rig.misses(query(turns=turns, max_tokens=100))
    assert rig.served(query(turns=turns, max_tokens=3)) == ("A c", Match.EQUIVALENT, ASKED)
    rig.keep(QUERY, "A cat.", completion_tokens=4)
    assert rig.served(query(turns=turns, max_tokens=4)) == ("A cat.", Match.EQUIVALENT, ASKED)
    assert rig.misses(query(turns=turns, max_tokens=2))


def test_a_name_only_proposes(rig: Rig) -> None:
    """An entry of another question, or of another scope, under the shared name is not served."""
    for other in (asked(ImagePart(CAT), "Where is this?"), asked(ImagePart(DOG), ASKED)):
        entry = CacheEntry(make_key(other)[1], QUERY.model, 100, answer(), NOW, NOW + 50)
        rig.l1.put(rig.shared_name(), Stored(codec.dump(entry), NOW + 50))
        found = rig.cache.lookup(OTHER)
        assert isinstance(found, Miss)
        assert found.why == "mismatch"
    assert rig.cache.stats().errors == 2


def test_damaged_bytes_under_the_shared_name_are_removed(rig: Rig) -> None:
    rig.l1.put(rig.shared_name(), Stored(b"garbage", NOW + 50))
    assert rig.misses(OTHER)
    rig.keep(OTHER, "A cat.")
    assert rig.served(QUERY)[1] is Match.EQUIVALENT


def test_another_version_of_the_rules_shares_no_names(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = rig.shared_name()
    rig.keep(QUERY, "A cat.")
    monkeypatch.setattr(equivalents, "FOLD_VERSION", "2")
    assert rig.shared_name() != name
    assert rig.misses(OTHER)


def test_an_answer_is_kept_once(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    assert rig.cache.stats().entries == 1
    rig.cache.clear()
    assert rig.misses(OTHER)


def test_a_hit_has_the_key_of_the_question_and_the_name_of_the_entry(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    found = rig.cache.lookup(OTHER)
    assert isinstance(found, Hit)
    assert found.key == make_key(OTHER)[0]
    assert rig.l1.get(found.name) is not None


def test_hits_are_counted_apart_and_by_tier(rig: Rig) -> None:
    rig.keep(QUERY, "A cat.")
    rig.cache.lookup(QUERY)
    rig.cache.lookup(OTHER)
    rig.l1.clear()
    found = rig.cache.lookup(OTHER)
    assert isinstance(found, Hit)
    assert found.tier is Tier.L2
    stats = rig.cache.stats()
    assert (stats.hits, stats.equivalent, stats.misses) == (3, 2, 0)
    assert (stats.equivalent_l1, stats.equivalent_l2) == (1, 1)
    assert stats.saved_tokens == 12


def test_lone_surrogates_match_to_the_letter_only(rig: Rig) -> None:
    rig.keep(asked("\ud83d what?"), "x")
    assert rig.served(asked("\ud83d what?"))[0] == "x"
    assert rig.misses(asked("\ud83d what"))
