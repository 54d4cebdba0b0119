"""ResponseCache: what may be stored, and what may be served to whom."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from cache_store import codec
from cache_store.cache import ResponseCache, open_cache
from cache_store.database import Database
from cache_store.keys import make_key
from cache_store.stores.base import Stored
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.tags import image_tag
from cache_store.types import (
    Answer,
    CacheEntry,
    CachePolicy,
    CacheQuery,
    FinishReason,
    Hit,
    ImagePart,
    Miss,
    Tier,
)
from tests.cache_store.samples import CAT, DOG, QUERY, ROOT, answer, asked, query
from tests.cache_store.stores.broken import BreakableStore

NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Rig:
    """A cache over two inspectable tiers and a clock that a test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.l1 = MemoryStore(2**20, self.clock)
        self.l2 = BreakableStore()
        self.l2._inner = MemoryStore(2**20, self.clock)
        self.cache = ResponseCache(
            TieredStore(self.l1, self.l2), Database(None), CachePolicy(ttl_s=100), self.clock
        )

    def plant(self, data: bytes, asking: CacheQuery = QUERY, suffix: str = "") -> None:
        """Bytes under the name of a query."""
        self.l1.put(str(make_key(asking)[0]) + suffix, Stored(data, NOW + 50))


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.cache.close()


def why(found: Hit | Miss) -> str:
    assert isinstance(found, Miss)
    return found.why


def text(found: Hit | Miss) -> str:
    assert isinstance(found, Hit), found
    return found.entry.answer.text


# --- hit and miss ------------------------------------------------------------------------------


def test_an_answer_is_found_again_by_the_same_query_only(rig: Rig) -> None:
    assert why(rig.cache.lookup(QUERY)) == "absent"
    assert rig.cache.store(QUERY, answer()) == 100
    assert text(rig.cache.lookup(QUERY)) == "A cat."
    others = [
        asked(ImagePart(DOG), "What is this?"),
        asked(ImagePart(CAT), "what is that?"),
        asked("What is this?", ImagePart(CAT)),
        query(model="other"),
        query(fingerprint="other"),
        query(namespace="bob"),
        query(sampling={**QUERY.sampling, "temperature": 0.5}),
        query(turns=QUERY.turns * 2),
    ]
    for other in others:
        assert why(rig.cache.lookup(other)) == "absent"


def test_a_hit_tells_tier_age_and_what_is_left(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    rig.clock.now += 30
    found = rig.cache.lookup(QUERY)
    assert isinstance(found, Hit)
    assert (found.tier, found.age_s, found.ttl_s) == (Tier.L1, 30, 70)
    assert found.entry.answer == answer()
    rig.l1.clear()
    found = rig.cache.lookup(QUERY)
    assert isinstance(found, Hit)
    assert (found.tier, found.age_s, found.ttl_s) == (Tier.L2, 30, 70)
    assert rig.cache.lookup(QUERY).key == found.key
    assert found.lookup_s > 0


def test_a_promoted_answer_ends_when_the_stored_one_does(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    for _ in range(9):
        rig.clock.now += 11
        rig.l1.clear()
        assert isinstance(rig.cache.lookup(QUERY), Hit)
        assert isinstance(rig.cache.lookup(QUERY), Hit)
    rig.clock.now += 2
    assert isinstance(rig.cache.lookup(QUERY), Miss)


def test_a_bypass_has_the_key_and_looks_at_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.cache.store(QUERY, answer())
    for tier in (rig.l1, rig.l2):
        monkeypatch.setattr(tier, "get", None)
    found = rig.cache.bypass(QUERY)
    assert (found.why, found.key) == ("bypass", make_key(QUERY)[0])
    stats = rig.cache.stats()
    assert (stats.bypasses, stats.hits, stats.misses) == (1, 0, 0)


def test_clear_forgets_answers_and_keeps_counts(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    rig.cache.lookup(QUERY)
    rig.cache.clear()
    assert why(rig.cache.lookup(QUERY)) == "absent"
    assert rig.cache.stats().hits == 1
    assert rig.cache.stats().entries == 0


# --- how long ----------------------------------------------------------------------------------


def test_an_answer_ends_at_its_time(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    rig.clock.now += 99.9
    assert isinstance(rig.cache.lookup(QUERY), Hit)
    rig.clock.now += 0.1
    assert isinstance(rig.cache.lookup(QUERY), Miss)


def test_an_entry_that_its_store_kept_too_long_is_expired(rig: Rig) -> None:
    _key, material = make_key(QUERY)
    rig.plant(codec.dump(CacheEntry(material, "m", 100, answer(), NOW - 50, NOW - 1)))
    assert why(rig.cache.lookup(QUERY)) == "expired"


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
def test_a_ttl_of_nothing_stores_nothing(rig: Rig, ttl_s: float) -> None:
    assert rig.cache.store(QUERY, answer(), ttl_s) is None
    assert why(rig.cache.lookup(QUERY)) == "absent"
    assert rig.cache.stats().refused == 1


def test_a_ttl_of_its_own_beats_the_policy_either_way(rig: Rig) -> None:
    assert rig.cache.store(QUERY, answer(), 10) == 10
    rig.clock.now += 11
    assert isinstance(rig.cache.lookup(QUERY), Miss)
    assert rig.cache.store(QUERY, answer(), 1000) == 1000
    rig.clock.now += 999
    assert isinstance(rig.cache.lookup(QUERY), Hit)


# --- which answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "tokens", "kept"),
    [
        (FinishReason.STOP, 4, True),
        (FinishReason.STOP, 100, True),
        (FinishReason.LENGTH, 100, True),
        (FinishReason.LENGTH, 99, False),  # cut by something else
        (FinishReason.LENGTH, 101, False),
        (FinishReason.CONTEXT, 4, False),
        (FinishReason.CONTEXT, 100, False),
        (FinishReason.CANCELLED, 4, False),
        (FinishReason.CANCELLED, 100, False),
        (FinishReason.THOUGHT, 4, False),
        (FinishReason.THOUGHT, 100, False),
    ],
)
def test_only_finished_answers_are_stored(
    rig: Rig, reason: FinishReason, tokens: int, kept: bool
) -> None:
    stored = rig.cache.store(QUERY, answer(finish_reason=reason, completion_tokens=tokens))
    assert (stored is not None) == kept
    assert isinstance(rig.cache.lookup(QUERY), Hit) == kept
    assert rig.cache.stats().refused == (not kept)


def test_every_finish_reason_is_decided() -> None:
    decided = {"stop", "length", "context", "cancelled", "thought"}
    assert set(FinishReason) == decided  # else: the table above


def test_an_answer_that_stopped_serves_every_limit_that_it_fits_in(rig: Rig) -> None:
    rig.cache.store(QUERY, answer(completion_tokens=4))
    for limit in (4, 5, 99, 100, 101, 10_000):
        assert text(rig.cache.lookup(query(max_tokens=limit))) == "A cat."
    for limit in (1, 2, 3):
        assert why(rig.cache.lookup(query(max_tokens=limit))) == "max_tokens"


def test_an_answer_that_was_cut_serves_its_own_limit_only(rig: Rig) -> None:
    cut = answer(text="A c", finish_reason=FinishReason.LENGTH, completion_tokens=3)
    assert rig.cache.store(query(max_tokens=3), cut) is not None
    assert text(rig.cache.lookup(query(max_tokens=3))) == "A c"
    for limit in (1, 2, 4, 100):
        assert isinstance(rig.cache.lookup(query(max_tokens=limit)), Miss)


@pytest.mark.parametrize("cut_first", [True, False])
def test_a_stopped_and_cut_answers_live_side_by_side(rig: Rig, cut_first: bool) -> None:
    def cut(limit: int) -> Answer:
        return answer(text="x" * limit, finish_reason=FinishReason.LENGTH, completion_tokens=limit)

    stores = [(query(max_tokens=n), cut(n)) for n in (2, 3)] + [(QUERY, answer())]
    for asking, kept in stores if cut_first else reversed(stores):
        rig.cache.store(asking, kept)
    served = {n: rig.cache.lookup(query(max_tokens=n)) for n in (1, 2, 3, 4, 100)}
    assert text(served[2]) == "xx"
    assert text(served[3]) == "xxx"
    assert text(served[4]) == text(served[100]) == "A cat."
    assert isinstance(served[1], Miss)


# --- equality decides --------------------------------------------------------------------------


def test_an_entry_with_other_material_under_the_same_name_is_never_served(rig: Rig) -> None:
    other = make_key(asked(ImagePart(DOG), "What is this?"))[1]
    rig.plant(codec.dump(CacheEntry(other, QUERY.model, 100, answer(), NOW, NOW + 50)))
    assert why(rig.cache.lookup(QUERY)) == "mismatch"
    assert rig.cache.stats().errors == 1


@pytest.mark.parametrize("place", [0, -1, 3])
def test_material_that_differs_in_one_byte_is_not_served(rig: Rig, place: int) -> None:
    material = bytearray(make_key(QUERY)[1])
    material[place] ^= 1
    rig.plant(codec.dump(CacheEntry(bytes(material), QUERY.model, 100, answer(), NOW, NOW + 50)))
    assert why(rig.cache.lookup(QUERY)) == "mismatch"


def test_an_answer_stored_for_one_query_is_not_served_under_the_name_of_another(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    other = asked(ImagePart(DOG), "What is this?")
    (stolen,) = rig.l1._kept.values()
    rig.plant(stolen.value, other)
    assert why(rig.cache.lookup(other)) == "mismatch"
    assert text(rig.cache.lookup(QUERY)) == "A cat."


@pytest.mark.parametrize("data", [b"", b"garbage", b"QCE1" + bytes(40)])
def test_damaged_bytes_are_a_miss_are_counted_and_removed(rig: Rig, data: bytes) -> None:
    rig.plant(data)
    assert why(rig.cache.lookup(QUERY)) == "corrupt"
    assert rig.cache.stats().errors == 1
    assert why(rig.cache.lookup(QUERY)) == "absent"
    rig.cache.store(QUERY, answer())
    assert text(rig.cache.lookup(QUERY)) == "A cat."


def test_a_cut_answer_planted_as_a_whole_one_is_not_served_to_other_limits(rig: Rig) -> None:
    cut = answer(finish_reason=FinishReason.LENGTH, completion_tokens=3)
    rig.plant(codec.dump(CacheEntry(make_key(QUERY)[1], "m", 3, cut, NOW, NOW + 50)))
    assert why(rig.cache.lookup(QUERY)) == "max_tokens"
    assert isinstance(rig.cache.lookup(query(max_tokens=3)), Hit)


def test_an_answer_that_repeats_is_decoded_once_and_other_bytes_are_checked(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    (name,) = rig.l1._kept
    first = rig.cache.lookup(QUERY)
    again = rig.cache.lookup(QUERY)
    assert isinstance(first, Hit)
    assert isinstance(again, Hit)
    assert again.entry is first.entry
    damaged = bytearray(rig.l1._kept[name].value)
    damaged[-1] ^= 1
    rig.l1.put(name, Stored(bytes(damaged), NOW + 50))
    rig.l2.delete(name)
    assert why(rig.cache.lookup(QUERY)) == "corrupt"


def test_a_long_answer_is_served_though_it_is_decoded_each_time(rig: Rig) -> None:
    long = Random(1).randbytes(20_000).hex()  # compresses to half of it
    rig.cache.store(QUERY, answer(text=long))
    assert text(rig.cache.lookup(QUERY)) == text(rig.cache.lookup(QUERY)) == long
    assert rig.cache._shelf._load.cache_info().currsize == 0


@pytest.mark.parametrize("other_process", [False, True])
def test_nothing_of_what_was_forgotten_stays_decoded(rig: Rig, other_process: bool) -> None:
    rig.cache.store(QUERY, answer())
    rig.cache.lookup(QUERY)
    decoded = rig.cache._shelf._load.cache_info
    assert decoded().currsize == 1
    if other_process:
        rig.l2.forget(image_tag(CAT))
        assert why(rig.cache.lookup(QUERY)) == "absent"
    else:
        rig.cache.forget(image_tag(CAT))
    assert decoded().currsize == 0


# --- the second look ---------------------------------------------------------------------------


def test_the_second_look_finds_what_was_stored_after_the_first(rig: Rig) -> None:
    missed = rig.cache.lookup(QUERY)
    assert isinstance(missed, Miss)
    assert rig.cache.look_again(QUERY, missed) is None
    rig.cache.store(QUERY, answer())
    found = rig.cache.look_again(QUERY, missed)
    assert found is not None
    assert found.entry.answer == answer()


def test_the_second_look_right_after_the_first_costs_nothing_unless_something_was_stored(
    rig: Rig,
) -> None:
    missed = rig.cache.lookup(QUERY)
    assert isinstance(missed, Miss)
    calls = rig.l2.calls
    assert rig.cache.look_again(QUERY, missed) is None
    assert rig.l2.calls == calls
    rig.cache.store(asked(ImagePart(DOG), "What is this?"), answer())
    calls = rig.l2.calls
    assert rig.cache.look_again(QUERY, missed) is None
    assert rig.l2.calls > calls


# --- counts ------------------------------------------------------------------------------------


def test_counts_add_up(rig: Rig) -> None:
    rig.cache.lookup(QUERY)
    rig.cache.store(QUERY, answer())
    rig.cache.lookup(QUERY)
    rig.l1.clear()
    rig.cache.lookup(QUERY)
    rig.cache.bypass(QUERY)
    stats = rig.cache.stats()
    assert (stats.hits_l1, stats.hits_l2, stats.misses, stats.bypasses) == (1, 1, 1, 1)
    assert (stats.stored, stats.refused, stats.errors) == (1, 0, 0)
    assert stats.hits == 2
    assert stats.hit_rate == pytest.approx(2 / 3)
    assert stats.saved_tokens == 8
    assert stats.saved_s == pytest.approx(4.0, abs=0.1)
    assert stats.saved_busy_s == 3.0
    assert (stats.entries, stats.memory_entries) == (1, 1)
    assert stats.stored_bytes > 0
    assert stats.memory_bytes > 0
    assert (stats.series[-1].hits, stats.series[-1].misses) == (2, 1)
    assert 0 < stats.lookup_p50_s <= stats.lookup_p95_s < 1


def test_a_new_cache_has_a_hit_rate_of_nothing(rig: Rig) -> None:
    assert rig.cache.stats().hit_rate == 0.0


# --- broken stores -----------------------------------------------------------------------------


def test_a_broken_disk_leaves_memory_and_is_counted(rig: Rig) -> None:
    rig.l2.broken = True
    assert rig.cache.store(QUERY, answer()) == 100
    assert text(rig.cache.lookup(QUERY)) == "A cat."
    assert isinstance(rig.cache.lookup(asked("other")), Miss)
    assert rig.cache.stats().errors >= 2


def test_an_answer_that_no_tier_takes_is_not_called_stored() -> None:
    l1 = BreakableStore()
    l1.broken = True
    cache = ResponseCache(TieredStore(l1, None), Database(None))
    assert cache.store(QUERY, answer()) is None
    assert (cache.stats().stored, cache.stats().refused) == (0, 1)
    cache.close()


# --- on disk -----------------------------------------------------------------------------------


def test_answers_and_counts_are_there_after_a_restart(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    cache.lookup(QUERY)
    cache.store(QUERY, answer(text="\ud83d 猫\r\n" * 20_000))
    cache.close()
    cache = open_cache(tmp_path / "cache")
    found = cache.lookup(QUERY)
    assert isinstance(found, Hit)
    assert found.tier is Tier.L2
    assert found.entry.answer.text == "\ud83d 猫\r\n" * 20_000
    again = cache.lookup(QUERY)
    assert isinstance(again, Hit)
    assert again.tier is Tier.L1
    assert again.entry == found.entry
    stats = cache.stats()
    assert (stats.misses, stats.stored, stats.hits_l1, stats.hits_l2) == (1, 1, 1, 1)
    cache.close()


def test_the_directory_is_nobody_elses(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "new" / "cache")
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o777 == 0o700
    cache.close()


def test_without_a_directory_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = open_cache(None)
    assert cache.store(QUERY, answer()) is not None
    assert text(cache.lookup(QUERY)) == "A cat."
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_used_leaves_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        cache = open_cache(directory)
        cache.store(QUERY, answer())
        assert text(cache.lookup(QUERY)) == "A cat."
        cache.close()
    assert "in memory only" in caplog.text


def test_a_ttl_that_the_policy_sets_to_zero_stores_nothing(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, CachePolicy(ttl_s=0))
    assert cache.store(QUERY, answer()) is None
    assert why(cache.lookup(QUERY)) == "absent"
    cache.close()


def test_a_second_process_sees_what_the_first_stored(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.store(QUERY, answer(text="from the first"))
    script = (
        "from pathlib import Path\n"
        "from cache_store.cache import open_cache\n"
        "from tests.cache_store.samples import QUERY\n"
        f"cache = open_cache(Path({str(tmp_path)!r}))\n"
        "print(cache.lookup(QUERY).entry.answer.text)\n"
        "cache.close()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, cwd=ROOT
    )
    assert told.stdout.strip() == "from the first", told.stderr
    cache.stats()
    cache.close()


def test_a_clear_reaches_the_disk(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.store(QUERY, answer())
    cache.clear()
    cache.close()
    cache = open_cache(tmp_path)
    assert isinstance(cache.lookup(QUERY), Miss)
    cache.close()


def test_entries_are_values_of_their_own(rig: Rig) -> None:
    rig.cache.store(QUERY, answer())
    one, other = rig.cache.lookup(QUERY), rig.cache.lookup(QUERY)
    assert isinstance(one, Hit)
    assert isinstance(other, Hit)
    assert one.entry == other.entry
    assert replace(one, lookup_s=0) == replace(other, lookup_s=0)
