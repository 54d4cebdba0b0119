"""What is done for one flight, whoever reads it: look again, wait for the model, hear it, store.

No thread waits here and no event loop is needed: each step is called by the one before it (a
lookup's thread, the thread that loaded the model, the model's thread), so that the leader may
leave at any moment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager

from cache_store.cache import ResponseCache
from cache_store.single_flight import Flight
from cache_store.types import Answer, CacheQuery
from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    Engine,
    EngineClosed,
    EngineEvent,
    EngineSpec,
    Failure,
    GenerationRequest,
    Job,
    Place,
    Sampling,
)
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.errors import GenerationFailed, QwenUIError
from qwen_ui.events import ModelStatus, TextDelta, ThoughtDelta
from qwen_ui.kept_frames import frames_away
from qwen_ui.runs import Landed, Logged, Pending
from qwen_ui.types import ChatRequest, Frame, ModelState

log = logging.getLogger(__name__)

THOUGHT_TOKENS = "thought_tokens"  # a parameter of the key where there is a budget


class Computation:
    """One answer by the model, told to a flight; `pending` is what its leader asked.

    A finished answer is stored on the engine's thread, before any reader learns of the end.
    """

    def __init__(
        self,
        pending: Pending,
        flight: Flight[Logged],
        cache: ResponseCache,
        registry: EngineRegistry,
        decoders: Executor,
    ) -> None:
        self._pending = pending
        self._flight = flight
        self._cache = cache
        self._registry = registry
        self._decoders = decoders
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._stopped = False
        self._first_at = 0.0
        self._text: list[str] = []
        self._thought: list[str] = []
        flight.on_stop(self._stop)

    def begin(self) -> None:
        """Look once more, since the answer may have been stored after the lookup; then compute.

        Reads the stores, so not for the event loop.
        """
        with self._failures_told():
            hit = None
            if not self._pending.request.cache.no_cache:
                hit = self._cache.look_again(self._pending.query, self._pending.miss)
            if hit is not None:
                self._flight.land(hit)
                return
            self._flight.tell(self._pending.miss)
            self._have_frames()

    def _have_frames(self) -> None:
        """Decode videos before the model's thread would do it, while all others waited for that."""
        away = frames_away(self._pending.request.messages)
        if away:
            self._decoders.submit(self._decode, away).add_done_callback(self._decoded)
        else:
            self._ask_for_model()

    def _decode(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if self._flight.stopped:
                return
            frame.load()

    def _decoded(self, decoding: Future[None]) -> None:
        with self._failures_told():
            if not decoding.cancelled():  # when the service closes
                decoding.result()
                self._ask_for_model()

    def _ask_for_model(self) -> None:
        if self._flight.stopped:
            return
        model = self._pending.request.model
        loading = self._registry.engine(model)
        if not loading.done():
            self._flight.tell(self._registry.status(model))
        loading.add_done_callback(self._submit)

    def _submit(self, loading: Future[Engine]) -> None:
        with self._failures_told():
            engine = loading.result()
            if self._flight.stopped:
                return
            request = self._pending.request
            generation = generation_of(request, self._pending.query, engine.spec)
            try:
                job = engine.submit(
                    generation, self.hear, visitor=request.visitor.key, on_move=self._moved
                )
            except EngineClosed:  # another visitor switched models in this moment
                self._ask_for_model()
                return
            self._started(job)

    def _moved(self, place: Place) -> None:
        model = self._pending.request.model
        status = ModelStatus(model, ModelState.READY, 1.0, place.ahead, place.wait_s)
        self._flight.tell(status)

    def _started(self, job: Job) -> None:
        """From now on `_stop` reaches the model."""
        with self._lock:
            self._job = job
            stopped = self._stopped
        if stopped:
            job.cancel()

    def _stop(self) -> None:
        """The last reader has left."""
        with self._lock:
            self._stopped = True
            job = self._job
        if job is not None:
            job.cancel()  # its Completion lands the flight
        else:
            self._flight.land(Landed(CANCELLED, None, 0.0, time.perf_counter()))

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
                self._flight.land(error)

    def _tell(self, event: TextDelta | ThoughtDelta) -> None:
        self._first_at = self._first_at or time.perf_counter()
        self._flight.tell(event)

    def _land(self, end: Completion) -> None:
        kept_s = None
        try:
            if self._flight.landing():
                kept_s = self._store(end)
        finally:  # whatever happens to a store: the readers have their answer
            self._flight.land(Landed(end, kept_s, self._first_at, time.perf_counter()))

    def _store(self, end: Completion) -> float | None:
        answer = answer_of(self._text, self._thought, end)
        pending = self._pending
        ttl_s, generation = pending.request.cache.ttl_s, pending.miss.generation
        return self._cache.store(pending.query, answer, ttl_s, generation)

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except QwenUIError as error:
            self._flight.land(error)
        except Exception as error:  # the request boundary: readers must not wait for ever
            log.exception("an answer could not be begun")
            self._flight.land(GenerationFailed(f"{type(error).__name__}: {error}"))


def generation_of(request: ChatRequest, query: CacheQuery, spec: EngineSpec) -> GenerationRequest:
    """What an engine of this build is asked for a request."""
    sampling = Sampling.resolve(request.sampling, spec.sampling)
    budget = query.sampling.get(THOUGHT_TOKENS)
    return GenerationRequest(
        request.messages,
        sampling,
        query.max_tokens,
        thought_tokens=budget if isinstance(budget, int) else None,
        sharing=query.namespace,
    )


def answer_of(text: Sequence[str], thought: Sequence[str], end: Completion) -> Answer:
    """What the tokens of an engine and its end make, as the cache keeps it."""
    return Answer(
        text="".join(text),
        thought="".join(thought),
        finish_reason=end.reason,
        prompt_tokens=end.prompt_tokens,
        completion_tokens=end.completion_tokens,
        first_token_s=end.first_token_s,
        elapsed_s=end.elapsed_s,
        busy_s=end.busy_s,
    )
