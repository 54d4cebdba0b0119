"""Live and replay are one stream, and its events say the same."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_store.cache import ResponseCache, open_cache
from cache_store.keys import make_key
from cache_store.types import Answer, CacheEntry, FinishReason, Hit, Tier
from qwen_ui.computation import Computation
from qwen_ui.engines.base import Completion, Failure
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.errors import GenerationFailed
from qwen_ui.events import (
    CacheStatus,
    ChatEvent,
    Finish,
    ModelStatus,
    TextDelta,
    ThoughtDelta,
    Usage,
)
from qwen_ui.reader import Reader
from qwen_ui.runs import Flights, Pending, Replay
from qwen_ui.types import CacheControl, ChatRequest, Match, ModelState
from tests.cache_store.samples import QUERY, answer
from tests.service import ScriptedSource, collect


def hit(kept: Answer) -> Hit:
    key, material = make_key(QUERY)
    entry = CacheEntry(material, "m", 100, kept, 0.0, 99.0)
    return Hit(key, entry, Tier.L2, 9.0, 90.0, 0.25, str(key))


def pending(cache: ResponseCache, control: CacheControl = CacheControl()) -> Pending:
    return Pending(ChatRequest("m", (), cache=control), QUERY, cache.bypass(QUERY))


def ended(reason: FinishReason = FinishReason.STOP, tokens: int = 4) -> Completion:
    return Completion(reason, 20, tokens, 0.5, 2.0, 1.5)


def test_a_replay_has_all_that_the_live_answer_had() -> None:
    kept = answer(thought="hm", text="A cat.")
    status, thought, text, usage, finish = Replay(hit(kept)).events
    key = str(make_key(QUERY)[0])
    assert status == CacheStatus(
        key, hit=True, tier="l2", ttl_s=90.0, age_s=9.0, lookup_s=0.25, match=Match.EXACT
    )
    assert (thought, text) == (ThoughtDelta("hm"), TextDelta("A cat."))
    assert usage == Usage(20, 4, 0.25, 0.25, 0.0, saved_s=1.75, saved_busy_s=1.5)
    assert finish == Finish(FinishReason.STOP)


def test_a_hit_slower_than_its_answer_saved_nothing_rather_than_less() -> None:
    usage = Replay(hit(answer(elapsed_s=0.1))).events[-2]
    assert isinstance(usage, Usage)
    assert usage.saved_s == 0.0


def test_the_cache_status_reads_as_rfc_9211_wants() -> None:
    assert (
        CacheStatus("k", hit=True, tier="l1", ttl_s=90.9).header()
        == 'qwen-ui; hit; ttl=90; key="k"; detail=l1'
    )
    assert (
        CacheStatus("k", hit=True, tier="l1", match=Match.EQUIVALENT, asked='a "b"').header()
        == 'qwen-ui; hit; key="k"; detail=l1; match=equivalent'
    )
    assert (
        CacheStatus("k", fwd="miss", stored=True, ttl_s=5, detail="absent").header()
        == 'qwen-ui; fwd=miss; stored; ttl=5; key="k"; detail=absent'
    )
    assert CacheStatus("k", fwd="bypass", collapsed=True).header() == (
        'qwen-ui; fwd=bypass; collapsed; key="k"'
    )


def flown(
    cache: ResponseCache, control: CacheControl = CacheControl()
) -> tuple[Reader, Computation]:
    """A reader of a flight, and what is computed for it; no model is asked for."""
    asked = pending(cache, control)
    reader = Reader(asked, Flights(), cache, queue_timeout_s=60)
    registry, decoders = EngineRegistry((ScriptedSource(),), 1), ThreadPoolExecutor(1)
    return reader, Computation(asked, reader.flight, cache, registry, decoders)


async def read(reader: Reader) -> list[ChatEvent]:
    return await collect(reader.events(lambda: ModelStatus("m", ModelState.LOADING, 0.0)))


async def test_a_finished_flight_is_stored_before_its_reader_hears_of_the_end() -> None:
    cache = open_cache(None)
    reader, computation = flown(cache)
    for event in (ThoughtDelta("hm"), TextDelta("A "), TextDelta("cat."), ended()):
        computation.hear(event)
    found = cache.lookup(QUERY)  # nobody has read anything yet
    assert isinstance(found, Hit)
    assert (found.entry.answer.text, found.entry.answer.thought) == ("A cat.", "hm")
    greeting, *events = await read(reader)
    assert isinstance(greeting, CacheStatus)
    assert not greeting.collapsed
    assert events[:3] == [ThoughtDelta("hm"), TextDelta("A "), TextDelta("cat.")]
    assert [type(event) for event in events[3:]] == [CacheStatus, Usage, Finish]
    cache.close()


@pytest.mark.parametrize("reason", [FinishReason.CANCELLED, FinishReason.CONTEXT])
async def test_an_unfinished_flight_ends_and_is_not_stored(reason: FinishReason) -> None:
    cache = open_cache(None)
    reader, computation = flown(cache)
    computation.hear(TextDelta("A "))
    computation.hear(ended(reason))
    events = await read(reader)
    assert [type(event) for event in events] == [CacheStatus, TextDelta, Usage, Finish]
    assert events[-1] == Finish(reason)
    assert cache.stats().stored == 0
    cache.close()


async def test_a_failed_flight_raises_after_what_was_read() -> None:
    cache = open_cache(None)
    reader, computation = flown(cache)
    computation.hear(TextDelta("A "))
    computation.hear(Failure(GenerationFailed("boom")))
    events = reader.events(lambda: ModelStatus("m", ModelState.LOADING, 0.0))
    assert isinstance(await anext(events), CacheStatus)
    assert await anext(events) == TextDelta("A ")
    with pytest.raises(GenerationFailed, match="boom"):
        await anext(events)
    assert cache.stats().stored == 0
    cache.close()


async def test_no_store_is_obeyed() -> None:
    cache = open_cache(None)
    reader, computation = flown(cache, CacheControl(no_store=True))
    computation.hear(ended())
    assert not any(isinstance(e, CacheStatus) and e.stored for e in await read(reader))
    assert cache.stats().stored == 0
    cache.close()


def test_an_answer_that_ends_after_its_readers_loop_is_still_stored() -> None:
    cache = open_cache(None)

    async def begin() -> Computation:
        return flown(cache)[1]

    computation = asyncio.run(begin())
    computation.hear(ended())
    assert cache.stats().stored == 1
    cache.close()
