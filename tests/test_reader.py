"""How long a reader waits for the turn of his question, and what becomes of it then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_ui.errors import WaitedTooLong
from qwen_ui.events import ChatEvent
from tests.service import Chat, is_hit, status, stored, text, until

PATIENCE_S = 1.0  # on a busy machine
Task = asyncio.Task[list[ChatEvent]]


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """A model that is busy with another question."""
    made = Chat(tmp_path, queue_timeout_s=PATIENCE_S)
    await made.ask("load the model")
    made.engine.hold()
    running = await asked(made, "first")
    yield made
    made.engine.release()
    assert text(await running) == "You asked: first "
    await made.close()


async def asked(chat: Chat, question: str) -> Task:
    """A question that is in the queue, or runs."""
    before = chat.engine.waiting
    task = asyncio.create_task(chat.ask(question))
    await until(lambda: chat.engine.waiting > before)
    return task


async def test_a_question_that_waited_too_long_is_withdrawn_and_says_so(chat: Chat) -> None:
    with pytest.raises(WaitedTooLong, match="Ask it again"):
        await asyncio.wait_for(await asked(chat, "second"), 5)
    assert chat.engine.waiting == 1
    chat.engine.release()
    await until(lambda: chat.engine.waiting == 0)
    assert chat.computed == 2  # what loaded the model, and the first
    assert not is_hit(await chat.ask("second"))


async def test_an_answer_may_take_longer_than_a_question_may_wait(chat: Chat) -> None:
    second = await asked(chat, "second")
    chat.engine.release(len(["You ", "asked: ", "first "]))  # now it is the second one's turn
    await until(lambda: chat.computed == 3)
    await asyncio.sleep(2 * PATIENCE_S)
    chat.engine.release()
    assert text(await second) == "You asked: second "


async def test_a_model_may_take_longer_to_load_than_a_question_may_wait(tmp_path: Path) -> None:
    chat = Chat(tmp_path, queue_timeout_s=PATIENCE_S)
    (source,) = chat.sources
    source.gate.clear()
    task = asyncio.create_task(chat.ask("hello"))
    await until(lambda: source.loads)
    await asyncio.sleep(2 * PATIENCE_S)
    source.gate.set()
    assert text(await task) == "You asked: hello "
    await chat.close()


async def test_who_joined_later_waits_his_own_time_and_reads_the_answer(chat: Chat) -> None:
    leader = await asked(chat, "second")
    await asyncio.sleep(0.6 * PATIENCE_S)
    follower = asyncio.create_task(chat.ask("second"))
    with pytest.raises(WaitedTooLong):
        await leader
    assert chat.engine.waiting == 2  # the follower's question is where it was
    chat.engine.release()
    events = await follower
    assert text(events) == "You asked: second "
    assert (status(events).collapsed, stored(events)) == (True, True)


async def test_the_last_one_to_give_up_takes_the_question_out_of_the_queue(chat: Chat) -> None:
    leader = await asked(chat, "second")
    follower = asyncio.create_task(chat.ask("second"))
    for task in (leader, follower):
        with pytest.raises(WaitedTooLong):
            await asyncio.wait_for(task, 5)
    assert chat.engine.waiting == 1
