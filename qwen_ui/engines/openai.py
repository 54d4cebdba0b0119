"""Any OpenAI-compatible server as an engine: vLLM, SGLang, llama.cpp, `transformers serve`, hosted.

One thread with an event loop reads all answers, since the server batches; cancelling a job cancels
its task, which closes its connection at whatever point it is.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import httpx

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineClosed,
    EngineSpec,
    Failure,
    GenerationRequest,
    Job,
    Listener,
    OnMove,
    Place,
    Priority,
    Sampling,
)
from qwen_ui.engines.endpoints import Endpoint, Endpoints
from qwen_ui.engines.openai_exchange import CONNECT_S, Patience, Post, exchange
from qwen_ui.engines.openai_wire import LONGEST, OPTIONAL, Reading, body_of
from qwen_ui.engines.trouble import Retry, Trouble
from qwen_ui.errors import EngineBusy, GenerationFailed, QwenUIError
from qwen_ui.remote_errors import RemoteContextTooLong
from qwen_ui.types import Message

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 8  # answers; the server batches them, and may have other clients


class OpenAIEngine:
    """A model of another server. Made by `remote.RemoteSource`; nothing is asked before a job is.

    `servers`: addresses and their API keys. The listener is called on the engine's thread.
    """

    def __init__(
        self,
        spec: EngineSpec,
        servers: Mapping[str, str | None],
        max_queue: int = 32,
        patience: Patience = Patience(),
    ) -> None:
        self.spec = spec
        self._patience = patience
        self._servers = Endpoints(
            [Endpoint(url, key, spec.model, spec.revision) for url, key in servers.items()]
        )
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S))
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._changed = threading.Condition()
        self._pending = 0  # ordinary jobs
        self._max_pending = SIDE_BY_SIDE + max_queue
        self._idle: Job | None = None
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, name=f"engine-{spec.model}", daemon=True
        )
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that a new one waits for: none while fewer than SIDE_BY_SIDE run."""
        return max(0, self._pending - SIDE_BY_SIDE + 1)

    def submit(
        self,
        request: GenerationRequest,
        listener: Listener,
        *,
        priority: Priority = Priority.ANSWER,
        visitor: str = "",
        on_move: OnMove | None = None,
    ) -> Job:
        """As `Engine.submit`, but in the order in which they come: the server shares its time out.
        `on_move` hears the first place, and when the turn has come."""
        idle = priority is not Priority.ANSWER
        job = _Running(request, listener, self, priority)
        with self._changed:
            if self._closed:
                raise EngineClosed
            if self._pending >= (1 if idle else self._max_pending) or (idle and self._idle):
                raise EngineBusy(self._pending)
            if idle:
                self._idle = job
            else:
                if on_move is not None and self.waiting:
                    on_move(Place(self.waiting, None))
                    job.on_move = on_move
                self._pending += 1
                self._stop_idle()
            self._loop.call_soon_threadsafe(job.begin)
        return job

    def prepare(self, messages: tuple[Message, ...], sharing: str = "") -> Job:
        """Nothing: what a server keeps of a prompt is its own affair."""
        request = GenerationRequest(messages, Sampling(), 0, sharing=sharing)
        return Job(request, lambda event: None, Priority.PREPARE)

    def forget(self) -> None:
        """Nothing is kept here."""

    def close(self) -> None:
        """Let queued and running jobs finish, then end the thread. May be called twice."""
        with self._changed:
            self._closed = True
            self._stop_idle()
            self._changed.wait_for(lambda: not self._pending and self._idle is None)
        with suppress(RuntimeError):  # it was closed before
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # --- on the engine's thread ----------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._servers.close())
            self._loop.run_until_complete(self._client.aclose())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def outcome(self, job: _Running) -> Completion | Failure:
        """Run a job to its end."""
        try:
            async with self._slots:
                job.has_its_turn()
                return await self._answer(job)
        except Trouble as trouble:
            return Failure(trouble.error)
        except QwenUIError as error:
            return Failure(error)
        except Exception as error:  # the request boundary of the engine's thread
            log.exception("generation failed")
            return Failure(GenerationFailed(f"{type(error).__name__}: {error}"))

    async def _answer(self, job: Job) -> Completion:
        began = time.perf_counter()
        body = await asyncio.to_thread(body_of, job.request, self.spec)

        async def attempt(endpoint: Endpoint) -> Completion:
            reading = Reading(job.listener, self.spec)
            await self._post(endpoint, body, reading)
            return reading.completion(job.request.max_tokens, began)

        return await self._servers.ask(self._client, attempt)

    async def _post(self, endpoint: Endpoint, body: dict[str, Any], reading: Reading) -> None:
        """Ask one server; where it refuses a field that it can do without, ask without it. Where
        the conversation leaves less room than the longest answer, it may answer in that room."""
        url = f"{endpoint.url}/chat/completions"
        headers = {"Content-Type": "application/json", **endpoint.headers}
        while True:
            sent = {k: v for k, v in body.items() if k not in endpoint.refused_fields}
            if reading.unlimited:
                del sent[LONGEST]
            try:
                await exchange(self._client, Post(url, headers, sent), reading, self._patience)
                return
            except Trouble as trouble:
                if trouble.retry is not Retry.NEVER or reading.spoke:
                    raise
                if isinstance(trouble.error, RemoteContextTooLong) and not reading.unlimited:
                    reading.unlimited = True
                    continue
                field = next((name for name in OPTIONAL if name in str(trouble)), None)
                if field not in sent:
                    raise
                log.info("%s is asked without %s from now on: %s", endpoint.url, field, trouble)
                endpoint.refused_fields.add(field)

    def ended(self, job: Job, task: asyncio.Task[Completion | Failure]) -> None:
        """Tell the end of a job, once, after everything else of it."""
        outcome = CANCELLED if task.cancelled() else task.result()
        with self._changed:  # before the listener hears of it: a reader may submit at once
            if job is self._idle:
                self._idle = None
            else:
                self._pending -= 1
        try:
            job.listener(outcome)
        except Exception:  # a reader's fault must not end the engine's thread
            log.exception("a listener failed")
        with self._changed:
            self._changed.notify_all()

    def cancel(self, job: _Running) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the job before it
            self._loop.call_soon_threadsafe(job.end)

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()


class _Running(Job):
    """A job and its task; `begin` and `end` are called on the engine's thread, in this order."""

    __slots__ = ("_engine", "_task", "on_move")

    def __init__(
        self,
        request: GenerationRequest,
        listener: Listener,
        engine: OpenAIEngine,
        priority: Priority,
    ) -> None:
        super().__init__(request, listener, priority)
        self.on_move: OnMove | None = None  # of one that was told to wait
        self._engine = engine
        self._task: asyncio.Task[Completion | Failure] | None = None

    def cancel(self) -> None:
        self.stop.set()
        self._engine.cancel(self)

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._engine.outcome(self))
        self._task.add_done_callback(partial(self._engine.ended, self))

    def has_its_turn(self) -> None:
        if self.on_move is not None:
            self.on_move(Place(0, 0.0))

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
