"""The chat's events, driven as Gradio drives them, without a browser."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import gradio as gr
import pytest

from qwen_ui.engines.base import GenerationRequest
from qwen_ui.errors import OutOfMemory
from qwen_ui.ui import parts
from qwen_ui.ui.conversation import TurnState
from qwen_ui.ui.handlers import BoxValue, ChatHandlers
from qwen_ui.ui.i18n import texts
from qwen_ui.ui.session import Session
from tests.pictures import photo, png, saved
from tests.service import Chat, ScriptedSource, until
from tests.ui.page import Visitor, held
from tests.ui.visitor import visitor


async def test_a_miss_streams_and_the_second_time_it_is_a_hit(chat: Chat, page: Visitor) -> None:
    page.send("hello")
    assert page.ticket == 1
    assert page.busy
    steps = await page.read()
    assert page.shown[0] == "hello"
    assert steps[-1].startswith("You asked: hello")
    assert not page.busy
    page.clear()
    page.send("hello")
    assert page.last.startswith("You asked: hello")
    assert "cached" in page.last
    assert (page.ticket, page.busy) == (1, False)  # nothing to stream
    assert chat.computed == 1


async def test_a_ticket_is_good_once(page: Visitor) -> None:
    page.send("hello")
    await page.read()
    assert await page.read() == []


async def test_a_hit_waits_for_no_model(chat: Chat, handlers: ChatHandlers, page: Visitor) -> None:
    await page.ask("known")
    chat.engine.hold()
    other = Visitor(handlers, name="two")
    other.send("something long")
    reading = asyncio.create_task(other.read())
    await until(lambda: chat.computed == 2)
    page.clear()
    page.send("known")
    assert "cached" in page.last
    other.stop()
    await reading


async def test_each_token_is_shown_when_it_comes(chat: Chat, page: Visitor) -> None:
    await held(chat)
    page.send("one two three")
    stream = page.handlers.stream(page.session, page.request)
    seen: list[str] = []

    async def read() -> None:
        async for chat_view, told in stream:
            page.chat, page.told = chat_view, told
            seen.append(page.last)

    def is_last(words: list[str]) -> bool:
        return bool(seen) and seen[-1].split() == words

    reading = asyncio.create_task(read())
    await until(lambda: chat.computed == 1)
    for count in (1, 2, 3):
        chat.engine.release(1)
        words = ["You", "asked:", "one"][:count]
        await until(partial(is_last, words))
    chat.engine.release()
    await reading


async def test_stop_keeps_what_was_seen_and_stores_nothing(chat: Chat, page: Visitor) -> None:
    await held(chat)
    page.send("one two three")
    reading = asyncio.create_task(page.read())
    chat.engine.release(3)
    await until(lambda: "one" in page.last)
    page.stop()
    assert "You asked: one" in page.last
    assert "stopped" in page.last
    assert not page.busy
    await reading
    chat.engine.release()
    assert "stopped" in page.last
    assert chat.service.stats().entries == 0
    answer = await page.ask("next")
    assert answer.startswith("You asked: next")
    told = chat.engine.computed[-1].messages
    assert [message.role for message in told] == ["user", "assistant", "user"]
    assert told[1].parts == ("You asked: one",)


async def test_stop_before_the_stream_began_runs_nothing(chat: Chat, page: Visitor) -> None:
    page.send("hello")
    page.stop()
    assert await page.read() == []
    assert "stopped" in page.last
    assert chat.computed == 0


async def test_a_new_question_stops_the_running_answer(chat: Chat, page: Visitor) -> None:
    await held(chat)
    page.send("first")
    reading = asyncio.create_task(page.read())
    await until(lambda: chat.computed == 1)
    chat.engine.release(2)
    await until(lambda: "asked" in page.last)
    page.send("second")
    assert page.ticket == 2
    second = asyncio.create_task(page.read())
    await reading
    chat.engine.release()
    await second
    assert page.shown[0] == "first"
    assert "You asked:" in page.shown[1]
    assert "stopped" in page.shown[1]
    assert page.shown[2] == "second"
    assert page.last.startswith("You asked: second")
    assert not page.busy


async def test_retry_asks_the_model_again_and_stores(chat: Chat, page: Visitor) -> None:
    await page.ask("hello")
    page.retry()
    assert page.ticket == 2
    await page.read()
    assert chat.computed == 2
    assert len(page.chat) == 2
    page.clear()
    page.send("hello")
    assert "cached" in page.last


async def test_retry_of_a_stopped_answer_may_be_a_hit(
    chat: Chat, handlers: ChatHandlers, page: Visitor
) -> None:
    page.send("hello")
    page.stop()
    await Visitor(handlers, name="two").ask("hello")
    page.retry()
    assert "cached" in page.last
    assert chat.computed == 1


async def test_retry_of_nothing_does_nothing(page: Visitor) -> None:
    page.retry()
    assert page.chat == []


async def test_an_edited_question_cuts_the_conversation(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await page.ask("first", red)
    await page.ask("second")
    box = page.edit(0)
    assert box == {"text": "first", "files": []}
    assert "question 1" in page.banner
    assert "<img" in page.banner
    await page.ask("changed")
    assert page.banner == ""
    assert [text.splitlines()[0] for text in page.shown] == ["changed", "You asked: changed "]
    (question,) = chat.engine.computed[-1].messages
    assert len(question.parts) == 2  # the picture stayed


async def test_an_edit_can_be_given_up(page: Visitor) -> None:
    await page.ask("first")
    page.edit(0)
    _, page.told = page.handlers.cancel_edit(page.session, page.request)
    assert page.banner == ""
    await page.ask("second")
    assert [text.splitlines()[0] for text in page.shown[::2]] == ["first", "second"]
    assert page.edit(7) == {"text": "", "files": []}


@pytest.mark.parametrize("text", ["", "   \n"])
async def test_an_empty_question_is_given_back(page: Visitor, text: str) -> None:
    page.send(text)
    assert "Type a question" in page.notice
    assert page.order is not None
    assert page.order["give_back"]
    assert page.chat == []


async def test_an_empty_question_does_not_stop_the_running_answer(
    chat: Chat, page: Visitor
) -> None:
    await held(chat)
    page.send("hello")
    reading = asyncio.create_task(page.read())
    page.send("")
    assert page.busy
    assert page.ticket == 1
    chat.engine.release()
    await reading
    assert "stopped" not in page.last


async def test_a_broken_picture_is_refused_when_it_is_dropped(
    handlers: ChatHandlers, tmp_path: Path, red: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing")
    page = Visitor(handlers, "zh-CN")
    page.drop(red, broken)
    assert "broken.png 无法作为图片读取" in page.notice
    assert page.order is not None
    assert page.order["refused"] == [str(broken)]
    assert not page.order["give_back"]
    page.drop(red)
    assert page.notice == ""
    assert page.order is None


async def test_a_sound_picture_tells_nothing_that_could_come_after_the_answer(
    page: Visitor, red: Path
) -> None:
    box = BoxValue(text="", files=[str(red)])
    assert page.handlers.prepare(box, page.model, page.session, page.request) == gr.skip()


async def test_a_broken_picture_that_is_sent_at_once_is_given_back_without_it(
    page: Visitor, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.png"
    huge.write_bytes(png(2, 8, 8_400, 8_400, b""))
    page.send("what?", huge, tmp_path / "gone.png")
    assert "huge.png is too big (8400 × 8400 pixels" in page.notice
    assert "no longer kept" in page.notice
    assert page.order is not None
    assert page.order["give_back"]
    assert len(page.order["refused"]) == 2
    assert page.chat == []


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (png(2, 8, 8_400, 8_400, b""), "huge.png 太大（8400 × 8400 像素；上限为 67 百万像素）"),
        (png(2, 8, 60_000, 60_000, b"\0"), "huge.png 实在太大（上限为 67 百万像素）"),
        (b"x" * (2**20 + 1), "huge.png 太大（1.1 MB；上限为 1 MB）"),
    ],
    ids=["pixels", "bomb", "bytes"],
)
async def test_what_is_too_big_is_said_in_one_language(
    tmp_path: Path, data: bytes, wanted: str
) -> None:
    chat = Chat(tmp_path / "cache", max_upload_bytes=2**20)
    page = Visitor(ChatHandlers(chat.service, chat.settings), "zh-CN")
    huge = tmp_path / "huge.png"
    huge.write_bytes(data)
    page.drop(huge)
    assert wanted in page.notice
    await chat.close()


async def test_too_many_pictures_are_given_back(page: Visitor, red: Path) -> None:
    page.send("what?", *[red] * 9)
    assert "At most 8 pictures" in page.notice
    assert page.order is not None
    assert page.order | {"at": 0} == {"refused": [], "give_back": True, "at": 0}


async def test_a_dropped_picture_is_looked_at_behind_what_was_said(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await page.ask("hello")
    page.drop(red)
    await until(lambda: chat.engine.prepared)
    page.send("what?", red)
    await page.read()
    prepared, asked = chat.engine.prepared[0].messages, chat.engine.computed[-1].messages
    assert prepared[:-1] == asked[:-1] != ()
    assert prepared[-1].parts == asked[-1].parts[:1]


async def test_a_prepared_picture_is_not_decoded_again(
    chat: Chat, page: Visitor, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.ask("what?", red)
    page.drop(red)

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("cache_store.images.decode", decode)
    page.clear()
    page.send("what?", red)
    assert "cached" in page.last


async def test_several_pictures_keep_their_order(
    chat: Chat, page: Visitor, red: Path, tmp_path: Path
) -> None:
    blue = tmp_path / "blue.png"
    blue.write_bytes(saved(photo(seed=3)))
    await page.ask("what?", blue, red)
    first, second, text = chat.engine.computed[-1].messages[0].parts
    assert text == "what?"
    digests = [chat.service.open_picture(path.read_bytes()).image.digest for path in (blue, red)]
    assert [first.digest, second.digest] == digests  # type: ignore[union-attr]


async def test_an_error_of_the_model_is_a_sentence_and_can_be_retried(
    chat: Chat, page: Visitor
) -> None:
    await held(chat)
    chat.engine.fail_next(OutOfMemory())
    page.send("hello")
    await page.read()
    assert "ran out of memory" in page.last
    assert not page.busy
    assert chat.service.stats().entries == 0
    chat.engine.release()
    page.retry()
    await page.read()
    assert page.last.startswith("You asked: hello")
    assert len(page.chat) == 2


async def test_a_failed_turn_is_not_told_to_the_model(chat: Chat, page: Visitor) -> None:
    await held(chat)
    chat.engine.fail_next(OutOfMemory())
    page.send("first")
    await page.read()
    chat.engine.release()
    await page.ask("second")
    assert len(chat.engine.computed[-1].messages) == 1


async def test_an_error_nobody_foresaw_is_a_sentence_too(
    chat: Chat, page: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(pending: object) -> AsyncIterator[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(chat.service, "run", run)
    page.send("hello")
    await page.read()
    assert "The model failed while answering: ZeroDivisionError" in page.last


async def test_a_model_that_cannot_be_loaded_is_said_in_the_chat(chat: Chat, page: Visitor) -> None:
    page.model = "nowhere"
    page.send("hello")
    assert "There is no model named nowhere" in page.last
    page.model = "scripted"
    page.retry()
    await page.read()
    assert page.last.startswith("You asked: hello")


async def test_a_loading_model_says_how_far_it_is(chat: Chat, page: Visitor) -> None:
    chat.sources[0].gate.clear()
    page.send("hello")
    reading = asyncio.create_task(page.read())
    await until(lambda: "loading scripted … 50 %" in page.last)
    chat.sources[0].gate.set()
    await reading
    assert page.last.startswith("You asked: hello")


async def test_a_busy_model_says_how_many_wait(
    chat: Chat, handlers: ChatHandlers, page: Visitor
) -> None:
    await held(chat)
    other = Visitor(handlers, name="two")
    other.send("before")
    first = asyncio.create_task(other.read())
    await until(lambda: chat.computed == 1)
    page.send("hello")
    reading = asyncio.create_task(page.read())
    await until(lambda: "1 question before yours" in page.last)
    chat.engine.release()
    await asyncio.gather(first, reading)


async def test_a_question_that_waited_too_long_stays_and_can_be_asked_again(tmp_path: Path) -> None:
    chat = Chat(tmp_path, queue_timeout_s=0.1)
    handlers = ChatHandlers(chat.service, chat.settings)
    await held(chat)
    other, page = Visitor(handlers, name="two"), Visitor(handlers)
    other.send("before")
    first = asyncio.create_task(other.read())
    await until(lambda: chat.computed == 1)
    await page.ask("hello")
    assert page.shown[0] == "hello"
    assert "Ask it again in a minute" in page.last
    assert not page.busy
    chat.engine.release()
    await first
    page.retry()
    await page.read()
    assert page.last.startswith("You asked: hello")
    await chat.close()


async def test_another_model_lets_the_running_answer_finish(chat: Chat, page: Visitor) -> None:
    await held(chat)
    page.send("hello")
    reading = asyncio.create_task(page.read())
    chat.service.warm("other")
    await until(lambda: chat.sources[1].engines)
    chat.engine.release()
    await reading
    assert page.last.startswith("You asked: hello")
    assert "stopped" not in page.last


async def test_thoughts_are_shown_apart_and_not_told_to_the_model(tmp_path: Path) -> None:
    def think(request: GenerationRequest) -> list[str]:
        return ["<think>hm ", "<think>so", "yes"]

    chat = Chat(tmp_path, ScriptedSource(script=think))
    page = Visitor(ChatHandlers(chat.service, chat.settings))
    await page.ask("hello")
    assert [message.get("metadata", {}).get("status") for message in page.chat] == [
        None,
        "done",
        None,
    ]
    assert page.shown[1] == "hm so"
    await page.ask("again")
    assert chat.engine.computed[-1].messages[1].parts == ("yes",)
    await chat.close()


async def test_a_closed_page_stops_its_answer(
    chat: Chat, handlers: ChatHandlers, page: Visitor
) -> None:
    await held(chat)
    page.send("hello")
    reading = asyncio.create_task(page.read())
    await until(lambda: chat.computed == 1)
    handlers.leave(page.request)
    await reading
    assert page.session.conversation.turns[0].state is TurnState.STOPPED
    handlers.leave(visitor(session="never seen"))


async def test_a_closed_stream_stops_the_model(chat: Chat, page: Visitor) -> None:
    await held(chat)
    page.send("hello")
    stream = page.handlers.stream(page.session, page.request)
    step = asyncio.create_task(anext(stream))
    await until(lambda: chat.computed == 1)
    chat.engine.release(1)
    await step
    await stream.aclose()
    await until(lambda: chat.engine.waiting == 0)
    assert chat.service.stats().entries == 0


async def test_two_visitors_have_two_conversations(handlers: ChatHandlers, page: Visitor) -> None:
    other = Visitor(handlers, "zh-CN", "two")
    await page.ask("mine")
    await other.ask("mine")
    await other.ask("theirs")
    assert len(page.session.conversation.turns) == 1
    assert "来自缓存" in other.shown[1]


def test_every_visitor_gets_a_session_of_their_own() -> None:
    session = Session()
    assert copy.deepcopy(session) is not session


async def test_a_question_repeated_in_the_same_chat_is_a_hit(
    chat: Chat, page: Visitor, red: Path
) -> None:
    first = await page.ask("what?", red)
    await page.ask("and how many?")
    again = await page.ask(" what? ")
    assert again.split("\n")[0] == first.split("\n")[0]
    assert "cached" in again
    assert "cached" in await page.ask("and how many?")
    assert "cached" in await page.ask("what?", red)
    assert chat.computed == 2
    page.retry()
    assert "cached" not in (await page.read())[-1]
    assert chat.computed == 3


async def test_a_repeated_question_after_another_picture_is_a_new_one(
    chat: Chat, page: Visitor, red: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(saved(photo().rotate(90)))
    await page.ask("what?", red)
    await page.ask("how many?", other)
    assert "cached" not in await page.ask("what?")
    assert chat.computed == 3


async def test_a_notice_stays_while_an_answer_runs_and_goes_with_the_next_question(
    chat: Chat, page: Visitor
) -> None:
    await held(chat)
    page.send("hello")
    reading = asyncio.create_task(page.read())
    page.send("")
    order = page.order
    chat.engine.release()
    await reading
    assert "Type a question" in page.notice
    assert page.order == order  # the same, so that the page obeys it once
    page.send("hello")
    assert page.notice == ""
    assert page.order is None


@pytest.mark.parametrize("end", ["clear", "stop", "retry"])
async def test_what_is_told_is_always_of_the_whole_session(
    chat: Chat, page: Visitor, end: str
) -> None:
    """Whichever event writes last: no old notice, banner or Stop stays behind."""
    await held(chat)
    page.send("first")
    page.edit(0)
    page.send("")
    assert page.notice
    assert page.banner
    assert page.busy
    getattr(page, end)()
    kept = {
        "clear": (False, False, False),
        "stop": (True, True, False),
        "retry": (False, False, True),
    }
    assert (bool(page.notice), bool(page.banner), page.busy) == kept[end]


async def test_a_hit_in_a_fresh_page_changes_nothing_that_is_told(
    handlers: ChatHandlers, page: Visitor
) -> None:
    await page.ask("hello")
    fresh = Visitor(handlers)
    fresh.send("hello")
    assert "cached" in fresh.last
    assert fresh.told == parts.told(Session(), texts("en"))
