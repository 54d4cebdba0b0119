"""ChatService: the same question is answered once, and nobody waits for somebody else's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cache_store.housekeeping import Stale
from cache_store.keys import make_key
from cache_store.types import FinishReason
from qwen_ui.engines.base import GenerationRequest
from qwen_ui.engines.scripted import scripted_spec
from qwen_ui.errors import (
    BadRequest,
    EmptyQuestion,
    EngineBusy,
    GenerationFailed,
    ModelFailed,
    NotCached,
    OutOfMemory,
    PictureGone,
    QuestionTooLong,
    ShuttingDown,
    TooManyPictures,
    UnknownModel,
)
from qwen_ui.events import CacheStatus, ChatEvent, Finish, ModelStatus, TextDelta, Usage
from qwen_ui.runs import Pending, Replay
from qwen_ui.types import CacheControl, Match, Message, ModelState, Picture, SamplingParams, Visitor
from tests.pictures import photo, saved, with_comment
from tests.service import (
    Chat,
    ScriptedSource,
    collect,
    error_of,
    finish,
    is_hit,
    status,
    stored,
    text,
    thought,
    until,
    usage,
)

Make = Callable[..., Chat]
EXACT = CacheControl(match=Match.EXACT)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Chat] = []

    def build(*sources: ScriptedSource, **options: Any) -> Chat:
        made.append(Chat(options.pop("directory", tmp_path), *sources, **options))
        return made[-1]

    yield build
    for chat in made:
        await chat.close()


@pytest.fixture
def chat(make: Make) -> Chat:
    return make()


def picture(chat: Chat, seed: int = 0, kind: str = "PNG") -> Picture:
    return chat.service.open_picture(saved(photo(seed=seed), kind), "photo")


async def warmed(chat: Chat) -> Chat:
    """With its first model loaded."""
    await asyncio.wrap_future(chat.registry.engine(chat.sources[0].name))
    return chat


async def held(chat: Chat, question: str = "a long one") -> asyncio.Task[list[ChatEvent]]:
    """A running answer that does not end until the engine is released."""
    await warmed(chat)
    chat.engine.hold()
    running = asyncio.create_task(chat.ask(question))
    await until(lambda: chat.engine.computed)
    return running


# --- miss, then hit ----------------------------------------------------------------------------


async def test_a_miss_is_stored_and_the_same_question_is_a_hit_with_the_same_text(
    chat: Chat,
) -> None:
    image = picture(chat).image
    first = await chat.ask(image, "What is this?")
    second = await chat.ask(image, "What is this?")
    assert text(first) == text(second) == "You asked: What is this? "
    assert (is_hit(first), is_hit(second)) == (False, True)
    assert chat.computed == 1


async def test_the_events_of_a_miss_come_in_their_order(chat: Chat) -> None:
    await warmed(chat)
    events = await chat.ask("one two")
    kinds = [type(event) for event in events]
    assert kinds == [CacheStatus, *[TextDelta] * 4, CacheStatus, Usage, Finish]
    first, last = events[0], events[-3]
    assert isinstance(first, CacheStatus)
    assert isinstance(last, CacheStatus)
    assert (first.fwd, first.detail, first.stored) == ("miss", "absent", False)
    assert (last.fwd, last.stored, last.key, last.ttl_s) == ("miss", True, first.key, 86_400)
    assert usage(events).completion_tokens == 4
    assert usage(events).saved_s == 0
    assert finish(events).reason is FinishReason.STOP


async def test_the_events_of_a_hit_come_in_their_order_and_tell_what_was_saved(chat: Chat) -> None:
    first = await chat.ask("one two")
    events = await chat.ask("one two")
    assert [type(event) for event in events] == [CacheStatus, TextDelta, Usage, Finish]
    found = status(events)
    assert (found.hit, found.tier, found.fwd, found.stored) == (True, "l1", None, False)
    assert found.key == status(first).key
    assert found.age_s is not None
    assert found.ttl_s is not None
    assert found.age_s + found.ttl_s == pytest.approx(86_400, abs=1)
    was, now = usage(first), usage(events)
    assert (now.prompt_tokens, now.completion_tokens) == (was.prompt_tokens, was.completion_tokens)
    assert now.busy_s == 0
    assert now.saved_busy_s == was.busy_s
    assert 0 <= now.elapsed_s < 1
    assert finish(events).reason is FinishReason.STOP


async def test_thoughts_come_back_apart_from_the_answer(make: Make) -> None:
    def thinking(_: GenerationRequest) -> Sequence[str]:
        return ["<think>let me ", "<think>see", "It is ", "a cat."]

    chat = make(ScriptedSource(script=thinking))
    for _ in range(2):
        events = await chat.ask("What?")
        assert (thought(events), text(events)) == ("let me see", "It is a cat.")
    assert is_hit(events)


def thinking_source() -> ScriptedSource:
    source = ScriptedSource()
    source.spec = replace(source.spec, thinking=True)
    return source


async def test_the_budget_for_thoughts_is_the_request_s_else_the_server_s(make: Make) -> None:
    chat = make(thinking_source(), max_thought_tokens=50)
    for asked in (None, 7, 0):
        await chat.ask("hi", sampling=SamplingParams(thought_tokens=asked))
    assert [request.thought_tokens for request in chat.engine.computed] == [50, 7, 0]
    assert is_hit(await chat.ask("hi", sampling=SamplingParams(thought_tokens=50)))


async def test_a_model_that_does_not_think_has_no_budget_for_it(make: Make) -> None:
    chat = make(max_thought_tokens=50)
    await chat.ask("hi")
    assert chat.engine.computed[0].thought_tokens is None
    assert is_hit(await chat.ask("hi", sampling=SamplingParams(thought_tokens=7)))


async def test_without_a_budget_nothing_is_said_of_thoughts_in_the_key(make: Make) -> None:
    chat = make(thinking_source())
    pending = chat.service.lookup(chat.request("hi"))
    assert isinstance(pending, Pending)
    assert "thought_tokens" not in pending.query.sampling


async def test_an_answer_whose_thoughts_were_cut_is_shown_and_not_stored(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = make(thinking_source(), max_thought_tokens=1)
    await warmed(chat)
    answer = chat.engine._answer
    monkeypatch.setattr(
        chat.engine._worker,
        "_run",
        lambda job: replace(answer(job), reason=FinishReason.THOUGHT),
    )
    for _ in range(2):
        events = await chat.ask("hi")
        assert text(events) == "You asked: hi "
        assert finish(events).reason is FinishReason.THOUGHT
        assert not stored(events)
        assert not is_hit(events)


async def test_an_empty_answer_is_an_answer(make: Make) -> None:
    chat = make(ScriptedSource(script=lambda _: []))
    assert stored(await chat.ask("Say nothing."))
    events = await chat.ask("Say nothing.")
    assert is_hit(events)
    assert [type(event) for event in events] == [CacheStatus, Usage, Finish]


async def test_a_restart_keeps_the_answers_and_loads_no_model(make: Make, tmp_path: Path) -> None:
    first = make()
    image = picture(first).image
    answered = await first.ask(image, "What is this?")
    await first.close()
    second = make()
    again = await second.ask(picture(second).image, "What is this?")
    assert text(again) == text(answered)
    assert status(again).tier == "l2"
    assert second.sources[0].loads == 0
    assert second.service.stats().hits == 1


async def test_without_a_disk_it_works_in_memory(make: Make) -> None:
    chat = make(on_disk=False)
    await chat.ask("hello")
    assert is_hit(await chat.ask("hello"))


# --- what is the same question -----------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["a\nb  c", " a\r\nb  c\t", "\n\na\rb  c\u3000"])
async def test_newlines_and_outer_spaces_are_not_in_the_question(chat: Chat, spelled: str) -> None:
    await chat.ask("a\nb  c")
    events = await chat.ask(spelled)
    assert is_hit(events)
    assert chat.engine.computed[0].messages[0].parts == ("a\nb  c",)


@pytest.mark.parametrize("other", ["a b", "A  b", "a  b?", "a\u200b  b", "a\n\nb", "ä  b"])
async def test_everything_inside_is_in_the_question(chat: Chat, other: str) -> None:
    await chat.ask("a  b")
    assert not is_hit(await chat.ask(other, cache=EXACT))


async def test_the_model_gets_what_the_key_is_made_of(chat: Chat) -> None:
    image = picture(chat).image
    pending = chat.service.lookup(chat.request("  first ", image, "\r\nsecond", ""))
    assert isinstance(pending, Pending)
    events = await collect(chat.service.run(pending))
    (asked,) = chat.engine.computed
    assert asked.messages[-1].parts == ("first", image, "second")
    material = make_key(pending.query)[1]
    assert b"first" in material
    assert image.digest.encode() in material
    assert status(events).key == str(make_key(pending.query)[0])


async def test_the_order_of_texts_and_pictures_is_in_the_question(chat: Chat) -> None:
    one, other = picture(chat).image, picture(chat, seed=1).image
    orders: list[tuple[Any, ...]] = [
        (one, "a"),
        ("a", one),
        ("a", one, "b"),
        ("a", "b", one),
        ("ab", one),
        (one, other, "a"),
        (other, one, "a"),
        (one, one, "a"),
        (other, "a"),
        ("a",),
    ]
    for order in orders:
        assert not is_hit(await chat.ask(*order)), order
    for order in orders:
        assert is_hit(await chat.ask(*order)), order


async def test_the_same_pixels_in_another_file_are_the_same_picture(chat: Chat) -> None:
    data = saved(photo(), "JPEG")
    one = chat.service.open_picture(data, "a.jpg")
    other = chat.service.open_picture(with_comment(data, b"resaved"), "b.jpg")
    assert one.id != other.id
    await chat.ask(one.image, "What is this?")
    assert is_hit(await chat.ask(other.image, "What is this?"))


async def test_other_parameters_are_another_question(chat: Chat) -> None:
    asked = [
        SamplingParams(),
        SamplingParams(temperature=0.7),
        SamplingParams(temperature=0.7, seed=1),
        SamplingParams(temperature=0.7, top_p=0.9),
        SamplingParams(temperature=0.7, top_k=20),
        SamplingParams(temperature=1.0),
    ]
    for sampling in asked:
        assert not is_hit(await chat.ask("hi", sampling=sampling)), sampling
    for sampling in asked:
        assert is_hit(await chat.ask("hi", sampling=sampling)), sampling


@pytest.mark.parametrize(
    "same",
    [
        SamplingParams(temperature=0),
        SamplingParams(temperature=0.0, top_p=0.5, top_k=3, seed=9),
        SamplingParams(seed=4),
        SamplingParams(max_tokens=2048),
    ],
)
async def test_every_spelling_of_greedy_is_one(chat: Chat, same: SamplingParams) -> None:
    await chat.ask("hi")
    assert is_hit(await chat.ask("hi", sampling=same))


async def test_the_history_is_in_the_question(chat: Chat) -> None:
    image = picture(chat).image
    histories: list[list[Message]] = [
        [],
        [Message("system", ("Be brief.",))],
        [Message("user", ("Hi",)), Message("assistant", ("Hello",))],
        [Message("user", ("Hi",)), Message("assistant", ("Hello!",))],
        [Message("user", (image, "Hi")), Message("assistant", ("Hello",))],
        [Message("assistant", ("Hi",)), Message("user", ("Hello",))],
    ]
    question = Message("user", ("And now?",))
    for expected in (False, True):
        for history in histories:
            request = chat.service.open([*history, question])
            assert is_hit(await collect(chat.service.stream(request))) == expected


async def test_another_model_is_another_question(make: Make) -> None:
    chat = make(ScriptedSource("one"), ScriptedSource("two"))
    await chat.ask("hi")
    assert is_hit(await chat.ask("hi", model="one"))
    assert not is_hit(await chat.ask("hi", model="two"))


async def test_another_revision_of_the_model_is_another_question(make: Make) -> None:
    first = make()
    await first.ask("hi")
    await first.close()
    source = ScriptedSource()
    source.spec = scripted_spec(revision="2")
    second = make(source)
    assert not is_hit(await second.ask("hi"))


async def test_a_shorter_limit_is_computed_and_a_longer_one_is_served(chat: Chat) -> None:
    await chat.ask("one two three")  # five tokens
    assert is_hit(await chat.ask("one two three", sampling=SamplingParams(max_tokens=5)))
    short = SamplingParams(max_tokens=4)
    cut = await chat.ask("one two three", sampling=short)
    assert status(cut).detail == "max_tokens"
    assert finish(cut).reason is FinishReason.LENGTH
    assert stored(cut)
    again = await chat.ask("one two three", sampling=short)
    assert is_hit(again)
    assert finish(again).reason is FinishReason.LENGTH
    assert text(again) == text(cut)
    assert is_hit(await chat.ask("one two three"))


# --- Cache-Control -----------------------------------------------------------------------------


async def test_no_cache_asks_the_model_again_and_stores_the_new_answer(make: Make) -> None:
    answers = iter(["first", "second"])
    chat = make(ScriptedSource(script=lambda _: [next(answers)]))
    await chat.ask("hi")
    events = await chat.ask("hi", cache=CacheControl(no_cache=True))
    assert (status(events).fwd, text(events), stored(events)) == ("bypass", "second", True)
    assert text(await chat.ask("hi")) == "second"
    assert chat.service.stats().bypasses == 1


async def test_another_wording_is_served_and_labelled(chat: Chat) -> None:
    shown = picture(chat).image
    first = await chat.ask(shown, "What is this?")
    events = await chat.ask(shown, "please, what's this")
    told = status(events)
    assert (told.hit, told.match, told.asked) == (True, Match.EQUIVALENT, "What is this?")
    assert text(events) == text(first)
    assert told.key != status(first).key
    told = status(await chat.ask(shown, "What is this?"))
    assert (told.match, told.asked) == (Match.EXACT, "")
    assert chat.computed == 1
    assert chat.service.stats().equivalent == 1


async def test_the_model_itself_answers_another_wording_when_asked_to(make: Make) -> None:
    answers = iter(["A cat.", "It is a cat."])
    chat = make(ScriptedSource(script=lambda _: [next(answers)]))
    await chat.ask("What is this?")
    again = await chat.ask("what is this", cache=CacheControl(no_cache=True))
    assert (text(again), stored(again)) == ("It is a cat.", True)
    own = await chat.ask("what is this")
    assert (text(own), status(own).match) == ("It is a cat.", Match.EXACT)
    first = await chat.ask("What is this?")
    assert (text(first), status(first).match) == ("A cat.", Match.EXACT)


async def test_a_request_or_the_server_may_want_the_same_words_only(make: Make) -> None:
    chat = make(cache_match="exact")
    await chat.ask("What is this?")
    assert not is_hit(await chat.ask("what is this"))
    assert is_hit(await chat.ask("WHAT IS THIS?", cache=CacheControl(match=Match.EQUIVALENT)))
    assert not is_hit(await chat.ask("What is this??", cache=EXACT))
    only = CacheControl(only_if_cached=True, match=Match.EXACT)
    error = await error_of(chat.service.stream(chat.request("What is this!", cache=only)))
    assert isinstance(error, NotCached)


async def test_a_follow_up_meets_its_other_wording_only_after_the_same_words(chat: Chat) -> None:
    def asked(first: str, then: str) -> list[Message]:
        return [Message("user", (first,)), Message("assistant", ("So.",)), Message("user", (then,))]

    async def ask(first: str, then: str) -> bool:
        request = chat.service.open(asked(first, then))
        return is_hit(await collect(chat.service.stream(request)))

    assert not await ask("Who?", "And why?")
    assert await ask("Who?", "and why")
    assert not await ask("who", "and why")


async def test_a_question_about_now_is_kept_for_minutes(chat: Chat) -> None:
    async def ttl_s(asked: str, control: CacheControl = CacheControl()) -> float | None:
        events = await chat.ask(asked, cache=control)
        return next(e.ttl_s for e in events if isinstance(e, CacheStatus) and e.stored)

    assert await ttl_s("What is he doing now?") == 300
    assert await ttl_s("What is he doing?") == 86_400
    assert await ttl_s("现在几点？", CacheControl(ttl_s=7)) == 7


async def test_no_store_keeps_nothing_but_may_be_served(chat: Chat) -> None:
    private = CacheControl(no_store=True)
    assert not stored(await chat.ask("hi", cache=private))
    assert not is_hit(await chat.ask("hi"))
    assert is_hit(await chat.ask("hi", cache=private))


async def test_only_if_cached_never_touches_the_model(chat: Chat) -> None:
    only = CacheControl(only_if_cached=True)
    error = await error_of(chat.service.stream(chat.request("hi", cache=only)))
    assert isinstance(error, NotCached)
    assert error.status == 504
    assert chat.sources[0].loads == 0
    await chat.ask("hi")
    assert is_hit(await chat.ask("hi", cache=only))


async def test_a_ttl_of_its_own_is_obeyed(chat: Chat) -> None:
    assert not stored(await chat.ask("a", cache=CacheControl(ttl_s=0)))
    assert not is_hit(await chat.ask("a"))
    await chat.ask("b", cache=CacheControl(ttl_s=0.15))
    assert is_hit(await chat.ask("b"))
    await asyncio.sleep(0.2)
    assert not is_hit(await chat.ask("b"))


# --- stopping ----------------------------------------------------------------------------------


async def test_stopping_midway_keeps_what_was_read_stores_nothing_and_frees_the_engine(
    chat: Chat,
) -> None:
    await warmed(chat)
    chat.engine.hold()
    pending = chat.service.lookup(chat.request("one two three"))
    assert isinstance(pending, Pending)
    running = asyncio.create_task(collect(chat.service.run(pending)))
    await until(lambda: chat.engine.computed)
    chat.engine.release(2)
    await asyncio.sleep(0.05)
    pending.stop()
    events = await asyncio.wait_for(running, 5)
    assert text(events) == "You asked: "
    assert finish(events).reason is FinishReason.CANCELLED
    assert not stored(events)
    assert chat.engine.waiting == 0
    chat.engine.release()
    assert not is_hit(await chat.ask("one two three"))


async def test_stopping_a_question_that_waits_its_turn_ends_it_at_once(chat: Chat) -> None:
    running = await held(chat)
    pending = chat.service.lookup(chat.request("waiting"))
    assert isinstance(pending, Pending)
    waiting = asyncio.create_task(collect(chat.service.run(pending)))
    await until(lambda: chat.engine.waiting == 2)
    pending.stop()
    events = await asyncio.wait_for(waiting, 2)
    assert finish(events).reason is FinishReason.CANCELLED
    assert chat.engine.waiting == 1
    chat.engine.release()
    assert finish(await running).reason is FinishReason.STOP
    assert chat.computed == 1


async def test_stopping_before_the_model_is_loaded_ends_it_at_once(make: Make) -> None:
    source = ScriptedSource()
    source.gate.clear()
    chat = make(source)
    pending = chat.service.lookup(chat.request("hi"))
    assert isinstance(pending, Pending)
    running = asyncio.create_task(collect(chat.service.run(pending)))
    await until(lambda: source.loads)
    pending.stop()
    events = await asyncio.wait_for(running, 2)
    assert finish(events).reason is FinishReason.CANCELLED
    source.gate.set()
    await warmed(chat)
    assert chat.computed == 0


async def test_stopping_twice_and_late_does_nothing(chat: Chat) -> None:
    pending = chat.service.lookup(chat.request("hi"))
    assert isinstance(pending, Pending)
    events = await collect(chat.service.run(pending))
    pending.stop()
    pending.stop()
    assert stored(events)
    assert is_hit(await chat.ask("hi"))


async def test_a_reader_that_leaves_stops_the_engine(chat: Chat) -> None:
    await warmed(chat)
    chat.engine.hold()
    stream = chat.service.stream(chat.request("one two three"))
    assert isinstance(await anext(stream), CacheStatus)
    reading = asyncio.ensure_future(anext(stream))
    await until(lambda: chat.engine.computed)
    chat.engine.release(1)
    assert await reading == TextDelta("You ")
    await stream.aclose()  # type: ignore[attr-defined]
    await until(lambda: chat.engine.waiting == 0)
    chat.engine.release()
    assert not is_hit(await chat.ask("one two three"))


async def test_a_reader_whose_task_is_cancelled_stops_the_engine(chat: Chat) -> None:
    running = await held(chat)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: chat.engine.waiting == 0)


async def test_an_answer_that_was_finished_is_stored_though_its_reader_has_left(
    chat: Chat,
) -> None:
    await warmed(chat)
    stream = chat.service.stream(chat.request("hi"))
    await anext(stream)
    await anext(stream)
    await until(lambda: chat.service.stats().stored == 1)
    await stream.aclose()  # type: ignore[attr-defined]
    assert is_hit(await chat.ask("hi"))


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [GenerationFailed("boom"), OutOfMemory()])
async def test_a_failure_reaches_the_reader_and_nothing_is_stored(
    chat: Chat, error: GenerationFailed | OutOfMemory
) -> None:
    await warmed(chat)
    chat.engine.fail_next(error)
    assert await error_of(chat.service.stream(chat.request("hi"))) is error
    assert not is_hit(await chat.ask("hi"))
    assert is_hit(await chat.ask("hi"))


async def test_what_an_engine_raises_by_mistake_is_a_failure_of_generation(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: GenerationRequest) -> Sequence[str]:
        raise ZeroDivisionError("oops")

    chat = make(ScriptedSource(script=broken))
    error = await error_of(chat.service.stream(chat.request("hi")))
    assert isinstance(error, GenerationFailed)
    assert "ZeroDivisionError" in str(error)


async def test_a_full_queue_says_how_many_wait(make: Make) -> None:
    chat = make(ScriptedSource(max_queue=2))
    running = await held(chat)
    waiting = [asyncio.create_task(chat.ask(f"waiting {n}")) for n in range(2)]
    await until(lambda: chat.engine.waiting == 3)
    error = await error_of(chat.service.stream(chat.request("one too many")))
    assert isinstance(error, EngineBusy)
    assert error.params["waiting"] == 3
    chat.engine.release()
    await asyncio.gather(running, *waiting)
    assert finish(await chat.ask("one too many")).reason is FinishReason.STOP


async def test_who_waits_is_told_how_many_are_before(chat: Chat) -> None:
    running = await held(chat)
    stream = chat.service.stream(chat.request("second"))
    await anext(stream)
    assert await anext(stream) == ModelStatus("scripted", ModelState.READY, 1.0, 1)
    chat.engine.release()
    assert text(await collect(stream)) == "You asked: second "
    await running


async def test_who_waits_is_told_when_the_line_moves_and_how_long_it_may_take(chat: Chat) -> None:
    await chat.ask("so that there is a time to judge by")
    running = await held(chat)
    second, third = (asyncio.create_task(chat.ask(f"waiting {n}")) for n in (1, 2))
    await until(lambda: chat.engine.waiting == 3)
    chat.engine.release()
    told = [
        [event for event in await task if isinstance(event, ModelStatus)]
        for task in (running, second, third)
    ]
    assert sorted([status.waiting for status in statuses] for statuses in told) == [
        [],
        [1, 0],
        [2, 1, 0],
    ]
    waits = [status.wait_s for statuses in told for status in statuses]
    assert all(wait_s is not None and 0 <= wait_s < 5 for wait_s in waits)


async def test_visitors_take_turns_as_the_server_knows_them(chat: Chat) -> None:
    running = await held(chat)
    visitors = (Visitor(session="a"), Visitor(session="a"), Visitor("a", "a"), Visitor("a", "b"))
    waiting = []
    for number, visitor in enumerate(visitors):
        waiting.append(asyncio.create_task(chat.ask(str(number), visitor=visitor)))
        await until(lambda: chat.engine.waiting == 2 + number)  # noqa: B023 - run at once
    chat.engine.release()
    await asyncio.gather(running, *waiting)
    asked = [request.messages[-1].parts[0] for request in chat.engine.computed[-4:]]
    assert asked == ["0", "2", "1", "3"]  # one user on two pages is one visitor


def test_a_visitor_has_one_turn_by_login_else_by_session_and_a_stranger_has_none() -> None:
    keys = [v.key for v in (Visitor("a", "s"), Visitor("a"), Visitor(None, "a"), Visitor())]
    assert keys == ["user:a", "user:a", "session:a", ""]


async def test_a_picture_that_is_no_longer_kept_is_said_to_be_gone(make: Make) -> None:
    chat = make(media_max_bytes=2**20)
    first = picture(chat).image
    for seed in range(1, 4):
        chat.service.open_picture(saved(photo(600, 500, seed), "BMP"), "big")
    assert isinstance(await error_of(chat.service.stream(chat.request(first, "?"))), PictureGone)
    assert chat.service.stats().stored == 0


async def test_an_answer_needs_no_picture_to_be_served(make: Make) -> None:
    chat = make(media_max_bytes=2**20)
    first = picture(chat).image
    await chat.ask(first, "?")
    for seed in range(1, 4):
        chat.service.open_picture(saved(photo(600, 500, seed), "BMP"), "big")
    assert is_hit(await chat.ask(first, "?"))


async def test_a_wrongly_remembered_picture_is_not_answered_and_then_put_right(
    chat: Chat,
) -> None:
    data = saved(photo(), "PNG")
    right = chat.service.open_picture(data, "a").image
    remembered = chat.cache.memo.get(chat.service.open_picture(data, "a").id)
    assert remembered is not None
    wrong = type(remembered)("0" * 64, remembered.width, remembered.height, 1)
    chat.cache.memo.put(chat.service.open_picture(data, "a").id, wrong)
    chat.media.make_thumbnail(wrong.digest, photo())  # without one it would be decoded again
    image = chat.service.open_picture(data, "a").image
    assert image.digest == "0" * 64
    assert isinstance(
        await error_of(chat.service.stream(chat.request(image, "?"))), GenerationFailed
    )
    assert chat.service.stats().stored == 0
    healed = chat.service.open_picture(data, "a").image
    assert healed.digest == right.digest
    assert stored(await chat.ask(healed, "?"))


# --- requests that are refused -----------------------------------------------------------------


@pytest.mark.parametrize("question", ["", "  ", "\r\n\u3000"])
async def test_an_empty_question_is_refused(chat: Chat, question: str) -> None:
    with pytest.raises(EmptyQuestion):
        chat.request(question)
    with pytest.raises(EmptyQuestion):
        chat.request(picture(chat).image, question)


async def test_a_question_may_be_as_long_as_the_limit_and_no_longer(make: Make) -> None:
    chat = make(max_question_chars=10)
    chat.request("x" * 10)
    chat.request(" " * 50 + "x" * 10)
    with pytest.raises(QuestionTooLong):
        chat.request("x" * 11)
    with pytest.raises(QuestionTooLong):
        chat.request("x" * 6, picture(chat).image, "x" * 5)


async def test_only_so_many_pictures_go_into_one_question(make: Make) -> None:
    chat = make(max_images=2)
    image = picture(chat).image
    chat.request(image, image, "?")
    with pytest.raises(TooManyPictures):
        chat.request(image, image, image, "?")


@pytest.mark.parametrize("question", ["\ud83d", "a\udc00", "\ude00\ud83d"])
async def test_half_a_character_is_refused(chat: Chat, question: str) -> None:
    with pytest.raises(BadRequest, match="surrogate"):
        chat.request(question)
    with pytest.raises(BadRequest, match="surrogate"):
        chat.service.open([Message("assistant", (question,)), Message("user", ("hi",))])


async def test_a_conversation_ends_with_a_question(chat: Chat) -> None:
    for messages in ([], [Message("assistant", ("hi",))], [Message("system", ("hi",))]):
        with pytest.raises(BadRequest, match="last message"):
            chat.service.open(messages)


async def test_an_unknown_model_is_named(chat: Chat) -> None:
    error = await error_of(chat.service.stream(chat.request("hi", model="gpt")))
    assert isinstance(error, UnknownModel)
    assert "gpt" in str(error)
    with pytest.raises(UnknownModel):
        chat.service.warm("gpt")


@pytest.mark.parametrize(
    "asked",
    [
        SamplingParams(max_tokens=0),
        SamplingParams(temperature=-0.1),
        SamplingParams(temperature=math.nan),
        SamplingParams(top_p=0.0),
        SamplingParams(top_p=1.5),
        SamplingParams(top_k=-1),
        SamplingParams(seed=-1),
        SamplingParams(seed=2**63),
    ],
)
async def test_a_parameter_out_of_its_limits_is_refused(chat: Chat, asked: SamplingParams) -> None:
    with pytest.raises(BadRequest, match="must be"):
        chat.request("hi", sampling=asked)


# --- nobody waits for somebody else's answer ---------------------------------------------------


async def test_a_hit_is_served_at_once_while_the_engine_is_in_a_long_answer(chat: Chat) -> None:
    await chat.ask("known")
    running = await held(chat)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert is_hit(await asyncio.wait_for(chat.ask("known"), 2))
        took.append(time.perf_counter() - began)
    assert sorted(took)[10] < 0.1
    chat.engine.release()
    await running


async def test_hits_are_served_while_eight_readers_wait(chat: Chat) -> None:
    await chat.ask("known")
    running = await held(chat)
    waiting = [asyncio.create_task(chat.ask(f"waiting {n}")) for n in range(8)]
    await until(lambda: chat.engine.waiting == 9)
    assert is_hit(await asyncio.wait_for(chat.ask("known"), 1))
    chat.engine.release()
    await asyncio.gather(running, *waiting)


async def test_hits_are_served_while_the_model_loads(make: Make, tmp_path: Path) -> None:
    first = make()
    await first.ask("known")
    await first.close()
    source = ScriptedSource()
    source.gate.clear()
    chat = make(source)
    loading = asyncio.create_task(chat.ask("new"))
    await until(lambda: source.loads)
    assert is_hit(await asyncio.wait_for(chat.ask("known"), 2))
    source.gate.set()
    events = await loading
    states = [event for event in events if isinstance(event, ModelStatus)]
    assert states[0].state is ModelState.LOADING
    assert text(events) == "You asked: new "


async def test_hits_are_served_where_the_model_cannot_be_loaded(make: Make) -> None:
    first = make()
    await first.ask("known")
    await first.close()
    source = ScriptedSource()
    source.error = ModelFailed("scripted", "the weights are gone")
    chat = make(source)
    error = await error_of(chat.service.stream(chat.request("new")))
    assert isinstance(error, ModelFailed)
    assert is_hit(await chat.ask("known"))
    source.error = None
    assert text(await chat.ask("new")) == "You asked: new "


async def test_eight_streams_at_once_each_read_their_own_answer(chat: Chat) -> None:
    answers = await asyncio.gather(*(chat.ask(f"question {n} " * 20) for n in range(8)))
    for number, events in enumerate(answers):
        assert text(events) == f"You asked: {(f'question {number} ' * 20).strip()} "
        assert stored(events)
    again = await asyncio.gather(*(chat.ask(f"question {n} " * 20) for n in range(8)))
    assert all(is_hit(events) for events in again)
    assert [text(a) for a in again] == [text(a) for a in answers]


# --- switching models --------------------------------------------------------------------------


async def test_a_running_answer_ends_on_its_model_while_another_is_loaded(make: Make) -> None:
    one, two = ScriptedSource("one"), ScriptedSource("two")
    chat = make(one, two)
    running = await held(chat, "to the first")
    switched = asyncio.create_task(chat.ask("to the second", model="two"))
    assert text(await running) == "You asked: to the first "
    assert stored(await running)
    assert text(await switched) == "You asked: to the second "
    assert (one.engine.waiting, len(one.engines), len(two.engines)) == (0, 1, 1)
    assert text(await chat.ask("back")) == "You asked: back "
    assert len(one.engines) == 2


async def test_models_tell_their_state(make: Make) -> None:
    one, two = ScriptedSource("one"), ScriptedSource("two")
    two.error = ModelFailed("two", "no weights")
    chat = make(one, two)
    await warmed(chat)
    await error_of(chat.service.stream(chat.request("hi", model="two")))
    found = {info.name: info.state for info in chat.service.models()}
    assert found == {"one": ModelState.UNLOADED, "two": ModelState.FAILED}  # one made room
    chat.service.warm("one")
    await warmed(chat)
    assert chat.service.models()[0].state is ModelState.READY


async def test_a_model_is_unloaded_by_hand_and_hits_are_served_without_it(chat: Chat) -> None:
    await chat.ask("hi")
    assert await asyncio.to_thread(chat.service.unload, "scripted")
    assert chat.service.models()[0].state is ModelState.UNLOADED
    assert is_hit(await chat.ask("hi"))
    assert not await asyncio.to_thread(chat.service.unload, "scripted")
    assert text(await chat.ask("back")) == "You asked: back "
    assert chat.sources[0].loads == 2


# --- closing -----------------------------------------------------------------------------------


async def closed_within(closing: Awaitable[None], seconds: float) -> float:
    began = time.perf_counter()
    await asyncio.wait_for(closing, seconds)
    return time.perf_counter() - began


async def test_closing_lets_a_running_answer_finish_and_stores_it(make: Make) -> None:
    chat = make()
    running = await held(chat, "nearly done")
    closing = asyncio.create_task(chat.close(grace_s=10))
    await asyncio.sleep(0.1)
    chat.engine.release()
    assert await closed_within(closing, 5) < 5
    assert stored(await running)
    reopened = make()
    assert is_hit(await reopened.ask("nearly done"))


async def test_closing_does_not_wait_longer_than_its_grace(make: Make) -> None:
    chat = make()
    running = await held(chat)
    assert await closed_within(chat.close(grace_s=0.2), 5) < 3
    with pytest.raises(ShuttingDown):
        await running


async def test_closing_ends_readers_that_wait_for_a_turn(make: Make) -> None:
    chat = make()
    running = await held(chat)
    waiting = asyncio.create_task(chat.ask("next"))
    await until(lambda: chat.engine.waiting == 2)
    await closed_within(chat.close(grace_s=0.1), 5)
    for task in (running, waiting):
        with pytest.raises(ShuttingDown):
            await asyncio.wait_for(task, 2)


async def test_clearing_the_cache_makes_the_model_answer_again(chat: Chat) -> None:
    await chat.ask("hi")
    chat.service.clear_cache()
    assert not is_hit(await chat.ask("hi"))
    assert chat.service.stats().stored == 2


async def test_a_lookup_gives_a_replay_or_what_to_run(chat: Chat) -> None:
    assert isinstance(chat.service.lookup(chat.request("hi")), Pending)
    await chat.ask("hi")
    assert isinstance(chat.service.lookup(chat.request("hi")), Replay)


async def test_an_upgrades_dry_run_counts_what_it_would_not_find(make: Make) -> None:
    chat = make()
    await chat.ask("hi")
    assert chat.service.stale("scripted") == Stale(stale=0, entries=1)
    source = ScriptedSource()
    source.spec = replace(source.spec, revision="newer")
    newer = Chat(chat.settings.directory, source)
    assert newer.service.stale("scripted") == Stale(stale=1, entries=1)
    await newer.close()
