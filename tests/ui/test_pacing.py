from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from qwen_ui.ui.pacing import paced


class Source:
    """Events on command, and whether the stream was closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncGenerator[int]:
        try:
            while (event := await self.queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True

    def say(self, *events: int | Exception | None) -> None:
        for event in events:
            self.queue.put_nowait(event)


async def test_the_first_event_comes_at_once_and_the_rest_in_batches() -> None:
    source = Source()
    source.say(1, 2, 3, 4, None)
    batches = [batch async for batch in paced(source.events(), 0.05)]
    assert batches == [[1], [2, 3, 4]]


async def test_batches_come_no_faster_than_they_are_drawn() -> None:
    source = Source()

    async def talk() -> None:
        for number in range(60):
            source.say(number)
            await asyncio.sleep(0.005)
        source.say(None)

    talking = asyncio.create_task(talk())
    began = time.monotonic()
    batches = [batch async for batch in paced(source.events(), 0.05)]
    await talking
    assert [event for batch in batches for event in batch] == list(range(60))
    assert len(batches) <= (time.monotonic() - began) / 0.05 + 2


async def test_an_event_is_not_kept_until_the_next_one_comes() -> None:
    source = Source()
    stream = paced(source.events(), 0.02)
    source.say(1)
    assert await anext(stream) == [1]
    source.say(2)
    assert await asyncio.wait_for(anext(stream), 5) == [2]
    await stream.aclose()


async def test_an_error_comes_after_what_came_before_it() -> None:
    source = Source()
    source.say(1, 2, 3, ValueError("broken"))
    stream = paced(source.events(), 0.01)
    assert await anext(stream) == [1]
    assert await anext(stream) == [2, 3]
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)
    assert source.closed


async def test_closing_it_closes_the_source_even_while_it_waits() -> None:
    source = Source()
    stream = paced(source.events(), 0.01)
    source.say(1)
    assert await anext(stream) == [1]
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert source.closed


async def test_no_events_are_no_batches() -> None:
    source = Source()
    source.say(None)
    assert [batch async for batch in paced(source.events(), 0.01)] == []
