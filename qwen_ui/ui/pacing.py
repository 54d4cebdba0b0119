"""Many small events in, few batches out: a page redraws no more often than the eye can see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

Event = TypeVar("Event")


async def paced(events: AsyncIterator[Event], every_s: float) -> AsyncGenerator[list[Event]]:
    """Events in batches, the first at once, later ones at least `every_s` apart.

    An error of `events` comes after everything that came before it. Closing this closes `events`.
    """
    loop = asyncio.get_running_loop()
    batch: list[Event] = []
    due = 0.0
    coming: asyncio.Task[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(events))
            rest_s = max(0.0, due - loop.time()) if batch else None
            await asyncio.wait([coming], timeout=rest_s)
            if coming.done() and coming.exception() is None:
                batch.append(coming.result())
                coming = None
                if loop.time() < due:
                    continue
            if batch:
                full, batch = batch, []
                due = loop.time() + every_s
                yield full
            if coming is not None and coming.done():
                coming.result()
    except _Exhausted:
        return
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
            coming.cancelled() or coming.exception()
        if isinstance(events, AsyncGenerator):
            await events.aclose()


class _Exhausted(Exception):
    """There are no more events."""


async def _next(events: AsyncIterator[Event]) -> Event:
    try:
        return await anext(events)
    except StopAsyncIteration:
        raise _Exhausted from None
