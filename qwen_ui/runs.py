"""One answer under way: what waits for the model, what hears it, and a stored answer replayed.

Live and replay give the same events, so that page and routes have one path.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

from cache_store.cache import ResponseCache
from cache_store.types import Answer, CacheQuery, Hit, Miss
from qwen_ui.engines.base import Completion, EngineEvent, Failure, Job
from qwen_ui.errors import QwenUIError
from qwen_ui.types import (
    CacheStatus,
    ChatEvent,
    ChatRequest,
    Finish,
    FinishReason,
    TextDelta,
    ThoughtDelta,
    Usage,
)


class Replay:
    """A stored answer as the events that it once was."""

    def __init__(self, hit: Hit) -> None:
        self.events = tuple(_replayed(hit))


class Pending:
    """An answer that the model has to give. `stop` may be called by any thread, at any time."""

    def __init__(self, request: ChatRequest, query: CacheQuery, miss: Miss) -> None:
        self.request = request
        self.query = query
        self.generation = miss.generation  # of the store, when nothing was found
        self.status = CacheStatus(
            key=str(miss.key),
            fwd="bypass" if miss.why == "bypass" else "miss",
            detail=miss.why,
            lookup_s=miss.lookup_s,
        )
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._job: Job | None = None

    def stop(self) -> None:
        """End the answer within one token; what was read so far stays with the reader."""
        with self._lock:
            self.stopped.set()
            if self._job is not None:
                self._job.cancel()

    def started(self, job: Job) -> None:
        """The engine has taken it: from now on `stop` reaches the model."""
        with self._lock:
            self._job = job
            if self.stopped.is_set():
                job.cancel()


class Flight:
    """Hears the engine on its thread and hands the events to one reader on the event loop.

    A finished answer is stored on the engine's thread, before the reader learns of the end: a
    reader that has left by then loses nothing that was computed.
    """

    def __init__(self, pending: Pending, cache: ResponseCache) -> None:
        self._pending = pending
        self._cache = cache
        self._began = time.perf_counter()
        self._first_s = 0.0
        self._text: list[str] = []
        self._thought: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[ChatEvent | QwenUIError] = asyncio.Queue()

    def hear(self, event: EngineEvent) -> None:
        """The engine's listener."""
        match event:
            case TextDelta(text):
                self._text.append(text)
                self._tell(event)
            case ThoughtDelta(text):
                self._thought.append(text)
                self._tell(event)
            case Completion():
                self._land(event)
            case Failure(error):
                self._tell(error)

    def land_unstarted(self) -> None:
        """It was stopped before an engine took it."""
        self._tell(Finish(FinishReason.CANCELLED))

    async def events(self) -> AsyncIterator[ChatEvent]:
        """Everything up to Finish. Raises the engine's QwenUIError."""
        while True:
            event = await self._events.get()
            if isinstance(event, QwenUIError):
                raise event
            yield event
            if isinstance(event, Finish):
                return

    def _land(self, end: Completion) -> None:
        kept_s = self._store(end)
        if kept_s is not None:
            status = self._pending.status
            self._tell(CacheStatus(key=status.key, fwd=status.fwd, stored=True, ttl_s=kept_s))
        self._tell(
            Usage(
                prompt_tokens=end.prompt_tokens,
                completion_tokens=end.completion_tokens,
                first_token_s=self._first_s,
                elapsed_s=time.perf_counter() - self._began,
                busy_s=end.busy_s,
            )
        )
        self._tell(Finish(end.reason))

    def _store(self, end: Completion) -> float | None:
        control = self._pending.request.cache
        if control.no_store:
            return None
        answer = Answer(
            text="".join(self._text),
            thought="".join(self._thought),
            finish_reason=end.reason,
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            first_token_s=end.first_token_s,
            elapsed_s=end.elapsed_s,
            busy_s=end.busy_s,
        )
        pending = self._pending
        return self._cache.store(pending.query, answer, control.ttl_s, pending.generation)

    def _tell(self, event: ChatEvent | QwenUIError) -> None:
        if not self._first_s and isinstance(event, TextDelta | ThoughtDelta):
            self._first_s = time.perf_counter() - self._began
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)


def _replayed(hit: Hit) -> list[ChatEvent]:
    answer = hit.entry.answer
    status = CacheStatus(
        key=str(hit.key),
        hit=True,
        tier=hit.tier.value,
        ttl_s=hit.ttl_s,
        age_s=hit.age_s,
        lookup_s=hit.lookup_s,
        match=hit.match,
        asked=hit.question,
    )
    usage = Usage(
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token_s=hit.lookup_s,
        elapsed_s=hit.lookup_s,
        busy_s=0.0,
        saved_s=max(0.0, answer.elapsed_s - hit.lookup_s),
        saved_busy_s=answer.busy_s,
    )
    thought = [ThoughtDelta(answer.thought)] if answer.thought else []
    text = [TextDelta(answer.text)] if answer.text else []
    return [status, *thought, *text, usage, Finish(answer.finish_reason)]
