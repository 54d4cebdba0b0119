"""ChatService: the one object that pages and routes see, and the only async boundary.

It puts a request into canonical form once; the key is made from that form, and the model gets it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from cache_store.cache import ResponseCache
from cache_store.errors import StoreUnavailable
from cache_store.housekeeping import Stale
from cache_store.types import CacheQuery, Hit, Lookup, Match
from qwen_ui.audits import Audits
from qwen_ui.canonical import cache_query, canonical_message, check_sampling
from qwen_ui.computation import Computation, generation_of
from qwen_ui.engines.base import EngineClosed, EngineSpec, Sampling
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.errors import BadRequest, EngineBusy, NotCached, ShuttingDown, StoreFailed
from qwen_ui.events import CacheStatus, ChatEvent
from qwen_ui.kept_frames import frames_away
from qwen_ui.preparations import Preparations
from qwen_ui.question import check_question
from qwen_ui.reader import Reader
from qwen_ui.runs import Flights, Pending, Replay
from qwen_ui.settings import Settings
from qwen_ui.types import (
    Attachment,
    CacheControl,
    CacheStats,
    ChatRequest,
    Message,
    MissCause,
    MissReason,
    ModelInfo,
    Picture,
    SamplingParams,
    Video,
    Visitor,
)
from qwen_ui.uploads import Uploads
from qwen_ui.visibility import Visibility

_DECODERS = 2  # videos at a time; each decoder has threads of its own


class ChatService:
    """Questions in, events out. Sync methods may be called from any thread."""

    def __init__(
        self,
        cache: ResponseCache,
        registry: EngineRegistry,
        uploads: Uploads,
        settings: Settings,
        visibility: Visibility,
    ) -> None:
        self._cache = cache
        self._registry = registry
        self._uploads = uploads
        self._settings = settings
        self._audits = Audits(cache, registry, settings.audit_rate)
        self._visibility = visibility
        self._flights = Flights()
        self._preparations = Preparations()
        self._generation: int | None = None  # of the cache, as the last miss told it
        self._lookups = ThreadPoolExecutor(8, thread_name_prefix="lookup")
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoder")
        self._reading: set[Pending] = set()
        self._closed = False

    # --- one question --------------------------------------------------------------------------

    def open_picture(self, data: bytes, name: str = "picture") -> Picture:
        """Accept an uploaded file. Raises errors.BadRequest: unreadable, or too big."""
        return self._uploads.images.open(data, name)

    def open_video(
        self,
        data: bytes,
        name: str = "video",
        *,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> Video:
        """Accept an uploaded video, or the part of it between two times. Put its `parts` into a
        message. Raises errors.BadRequest: unreadable, too big, too long, or no such part."""
        return self._uploads.videos.open(data, name, start_s, end_s)

    def open_upload(self, data: bytes, name: str) -> Attachment:
        """Accept whichever it is, by its bytes. Raises errors.BadRequest."""
        return self._uploads.open(data, name)

    def open(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        sampling: SamplingParams = SamplingParams(),
        cache: CacheControl = CacheControl(),
        visitor: Visitor = Visitor(),
    ) -> ChatRequest:
        """The request in canonical form. Raises errors.BadRequest and its kinds."""
        opened = tuple(canonical_message(message) for message in messages)
        if not opened or opened[-1].role != "user":
            raise BadRequest("The last message must be a question of the user.")
        check_question(opened[-1], self._settings)
        check_sampling(sampling)
        return ChatRequest(model or self._registry.default, opened, sampling, cache, visitor)

    def lookup(self, request: ChatRequest) -> Replay | Pending:
        """The stored answer, or what to `run`. Touches no model.

        Raises errors.UnknownModel, errors.ModelFailed, errors.NotCached.
        """
        spec = self._registry.spec(request.model)
        query = self._query(request, spec)
        control = request.cache
        if control.no_cache:
            found: Lookup = self._cache.bypass(query)
        else:
            found = self._cache.lookup(query, control.match or self._settings.cache_match)
        if isinstance(found, Hit):
            if found.match is Match.EXACT:  # another wording may well get another answer
                self._audits.sample(query, found, generation_of(request, query, spec), spec)
            return Replay(found, remote=spec.remote)
        if control.only_if_cached:
            raise NotCached
        self._heed(found.generation)
        once = not spec.repeats(Sampling.resolve(request.sampling, spec.sampling))
        return Pending(request, query, found, remote=spec.remote, once=once)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """The events of one answer, from the cache or from the model. Raises QwenUIError."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ShuttingDown
        found = await loop.run_in_executor(self._lookups, self.lookup, request)
        if isinstance(found, Replay):
            for event in found.events:
                yield event
        else:
            async for event in self.run(found):
                yield event

    async def run(self, pending: Pending) -> AsyncIterator[ChatEvent]:
        """The events of an answer by the model, or of the same one that runs already.

        Closing the iterator stops the model, unless somebody else reads the same answer.
        Raises QwenUIError.
        """
        reader = Reader(pending, self._flights, self._cache, self._settings.queue_timeout_s)
        self._reading.add(pending)
        self._audits.give_way()
        try:
            if reader.leads:
                computation = Computation(
                    pending, reader.flight, self._cache, self._registry, self._decoders
                )
                with suppress(RuntimeError):  # closed in this moment, and the flight with it
                    self._lookups.submit(computation.begin)
            async for event in reader.events(partial(self._registry.status, pending.request.model)):
                yield event
        finally:
            reader.close()
            self._reading.discard(pending)
            self._audits.resume()

    def explain(self, request: ChatRequest, missed: CacheStatus, at: float) -> MissReason:
        """Why a request missed, `at` seconds since the epoch; `missed` is what it was told then.

        Tells of no answer that its visitor could not have been served. Reads some hundred entries,
        so not for the event loop. Raises errors.UnknownModel, errors.ModelFailed.
        """
        if missed.detail != MissCause.ABSENT:
            return MissReason(MissCause(missed.detail))
        query = self._query(request, self._registry.spec(request.model))
        found = self._cache.explain(query, at)
        if found is None:
            return MissReason(MissCause.ABSENT)
        also = tuple(MissCause(field) for field in found.also)
        return MissReason(MissCause(found.field), found.asked, found.kept, found.age_s, also)

    # --- around it -----------------------------------------------------------------------------

    def models(self) -> tuple[ModelInfo, ...]:
        """What the picker offers, and how far each one is."""
        return self._registry.models()

    def warm(self, model: str | None = None) -> None:
        """Begin to load a model, before anybody asks. Raises errors.UnknownModel."""
        self._registry.engine(model or self._registry.default)

    def unload(self, model: str) -> bool:
        """Give a model's memory back; its running answers end first, so not for the event loop.

        False when it was not loaded. Raises errors.UnknownModel.
        """
        return self._registry.unload(model)

    def prepare(
        self, messages: Sequence[Message], *, model: str | None = None, visitor: Visitor = Visitor()
    ) -> None:
        """Let the model read ahead what the next question will begin with: earlier turns, and the
        pictures that were dropped. Only if it is loaded; answers go first, and what this visitor
        had prepared before is given up. Not where a video would have to be decoded for it. Never
        fails."""
        engine = self._registry.loaded(model or self._registry.default)
        if engine is not None and not frames_away(messages):
            opened = tuple(canonical_message(message) for message in messages)
            namespace = self._visibility.namespace(visitor)
            with suppress(EngineBusy, EngineClosed):
                self._preparations.replace(visitor.key, partial(engine.prepare, opened, namespace))

    def stats(self) -> CacheStats:
        """What the cache did and holds; reads a file, so not for the event loop."""
        return self._cache.stats()

    def stale(self, model: str) -> Stale:
        """How many stored answers of a model these versions and settings would not find any more.

        Reads them all and changes nothing. Raises errors.UnknownModel, errors.ModelFailed.
        """
        return self._cache.stale(model, self._registry.spec(model).fingerprint())

    def clear_cache(self) -> None:
        """Forget every stored answer, what the loaded models remember of pictures and prompts, and
        the pictures and videos that no open conversation shows.

        Raises errors.StoreFailed when that may be incomplete.
        """
        self._audits.clear()
        self._uploads.clear()
        self._forget_in_models()
        try:
            self._cache.clear()
        except StoreUnavailable as error:
            raise StoreFailed from error

    def close(self, grace_s: float = 5.0) -> None:
        """Let running answers finish for `grace_s`, stop the others, write everything down.

        Meanwhile stored and running answers can be read; no new one is begun.
        """
        self._flights.close()
        deadline = time.monotonic() + grace_s
        while self._reading and time.monotonic() < deadline:
            time.sleep(0.02)
        self._flights.end(ShuttingDown())
        self._closed = True
        self._lookups.shutdown()
        self._decoders.shutdown(cancel_futures=True)
        self._audits.close()
        self._registry.close()
        self._cache.close()

    def _heed(self, generation: int | None) -> None:
        """Something was forgotten, perhaps by another process: what this one remembers goes too."""
        if generation is None:  # the store is out: what it forgets meanwhile is seen afterwards
            return
        before, self._generation = self._generation, generation
        if before not in (None, generation):
            self._cache.memo.clear_memory()
            self._cache.videos.clear_memory()
            self._forget_in_models()

    def _forget_in_models(self) -> None:
        self._preparations.clear()
        for model in self._registry.models():
            engine = self._registry.loaded(model.name)
            if engine is not None:
                engine.forget()

    def _query(self, request: ChatRequest, spec: EngineSpec) -> CacheQuery:
        namespace = self._visibility.namespace(request.visitor)
        return cache_query(request, spec, self._settings, namespace)
