"""The same question at the same time: one computation, and everybody reads all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_ui.errors import GenerationFailed
from qwen_ui.events import ChatEvent
from qwen_ui.runs import Pending
from qwen_ui.types import CacheControl, FinishReason, SamplingParams, Visitor
from tests.service import (
    Chat,
    collect,
    finish,
    is_hit,
    status,
    stored,
    text,
    until,
    usage,
)

QUESTION = "one two three four five"
WHOLE = f"You asked: {QUESTION} "
Events = list[ChatEvent]


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    made = Chat(tmp_path)
    await made.ask("load the model")
    made.engine.computed.clear()
    made.engine.hold()
    yield made
    await made.close()


async def begun(chat: Chat, **options: object) -> asyncio.Task[Events]:
    """A reader whose answer runs, two tokens of it said."""
    task = asyncio.create_task(chat.ask(QUESTION, **options))
    await until(lambda: chat.engine.computed)
    chat.engine.release(2)
    return task


async def joined(chat: Chat, count: int, **options: object) -> list[asyncio.Task[Events]]:
    """More readers of it; each has the seat that it asks for."""
    tasks = [asyncio.create_task(chat.ask(QUESTION, **options)) for _ in range(count)]
    await asyncio.sleep(0.1)
    return tasks


async def test_late_readers_read_the_whole_answer_and_it_is_computed_once(chat: Chat) -> None:
    leader = await begun(chat)
    others = await joined(chat, 3)
    chat.engine.release()
    first = await leader
    assert (text(first), status(first).collapsed) == (WHOLE, False)
    for task in others:
        events = await task
        assert text(events) == WHOLE
        assert (status(events).fwd, status(events).collapsed) == ("miss", True)
        assert usage(events).busy_s == 0.0
        assert finish(events).reason is FinishReason.STOP
    assert chat.computed == 1
    assert chat.service.stats().collapsed == 3


async def test_a_leader_that_leaves_stops_nothing_while_another_reads(chat: Chat) -> None:
    leader = await begun(chat)
    (other,) = await joined(chat, 1)
    leader.cancel()
    chat.engine.release()
    assert text(await other) == WHOLE
    assert stored(await other)
    assert is_hit(await chat.ask(QUESTION))


async def test_stop_ends_it_for_one_reader_and_the_others_read_on(chat: Chat) -> None:
    pending = chat.service.lookup(chat.request(QUESTION))
    assert isinstance(pending, Pending)
    mine = asyncio.create_task(collect(chat.service.run(pending)))
    await until(lambda: chat.engine.computed)
    (other,) = await joined(chat, 1)
    pending.stop()
    assert finish(await asyncio.wait_for(mine, 5)).reason is FinishReason.CANCELLED
    chat.engine.release()
    assert text(await other) == WHOLE


async def test_who_asks_after_a_forget_reads_nothing_that_was_begun_before_it(chat: Chat) -> None:
    before = await begun(chat)
    chat.service.clear_cache()
    after = await joined(chat, 2)
    chat.engine.release()
    first = await before
    assert (text(first), stored(first)) == (WHOLE, False)
    told = [await task for task in after]
    assert all(text(events) == WHOLE and stored(events) for events in told)
    assert chat.computed == 2
    assert sorted(status(events).collapsed for events in told) == [False, True]
    assert is_hit(await chat.ask(QUESTION))


async def test_when_the_last_reader_has_left_the_model_stops_and_nothing_is_stored(
    chat: Chat,
) -> None:
    leader = await begun(chat)
    (other,) = await joined(chat, 1)
    leader.cancel()
    other.cancel()
    await until(lambda: chat.engine.waiting == 0)
    chat.engine.release()
    again = await chat.ask(QUESTION)
    assert not is_hit(again)
    assert (chat.computed, text(again)) == (2, WHOLE)


async def test_a_failure_reaches_every_reader_and_leaves_no_trace(chat: Chat) -> None:
    leader = await begun(chat)
    others = await joined(chat, 2)
    chat.engine.fail_next(GenerationFailed("boom"))
    for task in (leader, *others):
        with pytest.raises(GenerationFailed, match="boom"):
            await task
    chat.engine.release()
    assert text(await chat.ask(QUESTION)) == WHOLE
    assert chat.computed == 2


async def test_no_cache_joins_only_no_cache(chat: Chat) -> None:
    usual = await begun(chat)
    anew = await joined(chat, 2, cache=CacheControl(no_cache=True))
    chat.engine.release()
    assert not status(await usual).collapsed
    collapsed = [status(await task).collapsed for task in anew]
    assert sorted(collapsed) == [False, True]
    assert chat.computed == 2


async def test_no_store_leads_nobody(chat: Chat) -> None:
    private = await begun(chat, cache=CacheControl(no_store=True))
    (other,) = await joined(chat, 1)
    chat.engine.release()
    assert not stored(await private)
    assert stored(await other)
    assert not status(await other).collapsed
    assert chat.computed == 2


async def test_another_length_is_another_answer(chat: Chat) -> None:
    long = await begun(chat)
    (short,) = await joined(chat, 1, sampling=SamplingParams(max_tokens=3))
    chat.engine.release()
    assert text(await long) == WHOLE
    assert text(await short) == "You asked: one "
    assert finish(await short).reason is FinishReason.LENGTH


async def test_an_answer_that_came_between_lookup_and_run_is_not_computed_again(
    chat: Chat,
) -> None:
    late = chat.service.lookup(chat.request(QUESTION))
    assert isinstance(late, Pending)
    chat.engine.release()
    await chat.ask(QUESTION)
    events = await collect(chat.service.run(late))
    assert is_hit(events)
    assert text(events) == WHOLE
    assert chat.computed == 1


async def test_visitors_share_answers_only_as_far_as_the_server_says(tmp_path: Path) -> None:
    chat = Chat(tmp_path, visibility="session")
    one, other = Visitor(session="one"), Visitor(session="other")
    assert not is_hit(await chat.ask("hi", visitor=one))
    assert is_hit(await chat.ask("hi", visitor=one))
    assert not is_hit(await chat.ask("hi", visitor=other))
    assert not is_hit(await chat.ask("hi", visitor=Visitor()))
    assert not is_hit(await chat.ask("hi", visitor=Visitor()))
    chat.engine.hold()
    before = chat.computed
    tasks = [asyncio.create_task(chat.ask("at once", visitor=who)) for who in (one, other, one)]
    await asyncio.sleep(0.1)
    chat.engine.release()
    collapsed = [status(await task).collapsed for task in tasks]
    assert not collapsed[1]
    assert sorted((collapsed[0], collapsed[2])) == [False, True]
    assert chat.computed - before == 2
    await chat.close()
