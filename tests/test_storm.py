"""Many readers of the same questions on one event loop, who come and leave when they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

import pytest

from qwen_ui.events import ChatEvent
from qwen_ui.types import FinishReason
from tests.service import Chat, finish, text, until

QUESTIONS, READERS = 10, 20  # readers of each question
WORDS = "one two three four five six seven eight nine ten"
COME_WITHIN_S = 0.2  # some find a running answer, some a stored one


@dataclass(slots=True)
class Tally:
    """What readers saw."""

    whole: int = 0
    left: int = 0
    truncated: int = 0


async def read_all(chat: Chat, question: str, tally: Tally) -> None:
    events = await chat.ask(question)
    ended_well = finish(events).reason is FinishReason.STOP
    tally.whole += 1
    tally.truncated += not ended_well or text(events) != f"You asked: {question} "


async def read_some(chat: Chat, question: str, count: int, tally: Tally) -> None:
    """Leave after so many events: what was read by then is the beginning of the answer."""
    events = []
    stream = cast(AsyncGenerator[ChatEvent, None], chat.service.stream(chat.request(question)))
    async with aclosing(stream):
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    tally.left += 1
    tally.truncated += not f"You asked: {question} ".startswith(text(events))


async def visit(chat: Chat, question: str, random: Random, tally: Tally) -> None:
    """Come at some time; then stay to the end, leave after some words, or be gone at once."""
    await asyncio.sleep(random.uniform(0, COME_WITHIN_S))
    match random.randrange(4):
        case 0 | 1:
            await read_all(chat, question, tally)
        case 2:
            await read_some(chat, question, random.randrange(1, 12), tally)
        case 3:
            task = asyncio.create_task(read_all(chat, question, Tally()))
            await asyncio.sleep(random.uniform(0, COME_WITHIN_S))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            tally.left += 1


async def one_storm(chat: Chat, number: int) -> Tally:
    """Each question has one reader who stays from the first to the last word."""
    questions = [f"{number} {n} {WORDS}" for n in range(QUESTIONS)]
    tally = Tally()
    chat.engine.hold()
    staying = [asyncio.create_task(read_all(chat, q, tally)) for q in questions]
    await until(lambda: chat.engine.waiting == QUESTIONS)
    visitors = [
        asyncio.create_task(visit(chat, q, Random(f"{q} {n}"), tally))
        for q in questions
        for n in range(READERS - 1)
    ]
    while not all(task.done() for task in staying):
        chat.engine.release(1)
        await asyncio.sleep(0.0005)
    await asyncio.gather(*staying, *visitors)
    return tally


@pytest.mark.soak
async def test_a_storm_of_tasks_truncates_nothing_and_computes_each_question_once(
    tmp_path: Path, repetitions: Callable[[int], int]
) -> None:
    chat = Chat(tmp_path)
    await chat.ask("load the model")
    for number in range(repetitions(50)):
        computed = chat.computed
        tally = await one_storm(chat, number)
        assert tally.whole + tally.left == QUESTIONS * READERS
        assert tally.truncated == 0
        assert min(tally.whole, tally.left) > QUESTIONS
        assert chat.computed - computed == QUESTIONS
        assert chat.engine.waiting == 0
    await chat.close()
