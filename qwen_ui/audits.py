"""Served answers, asked of the model again while nobody waits for it (see cache_store.audit)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from PIL import Image as PILImage

from cache_store.audit import Auditor
from cache_store.cache import ResponseCache
from cache_store.errors import CannotRepeat
from cache_store.types import Answer, CacheQuery, Hit
from qwen_ui.computation import answer_of
from qwen_ui.engines.base import (
    Completion,
    EngineClosed,
    EngineEvent,
    EngineSpec,
    Failure,
    GenerationRequest,
    Job,
    Priority,
)
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.errors import EngineBusy, QwenUIError
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import Image, Message


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a model was asked, and as which build of itself it answered."""

    spec: EngineSpec
    model: str
    generation: GenerationRequest


class Audits:
    """Gives way at once: to the next question to the same model by the engine, to any other by
    `give_way`. Never loads a model."""

    def __init__(self, cache: ResponseCache, registry: EngineRegistry, rate: float) -> None:
        self._registry = registry
        self._auditor: Auditor[_Asked] = Auditor(cache, self, rate)
        self._lock = threading.Lock()
        self._busy = 0
        self._job: Job | None = None

    def sample(
        self, query: CacheQuery, hit: Hit, generation: GenerationRequest, spec: EngineSpec
    ) -> None:
        """Perhaps audit this hit; costs it nothing."""
        asked = _Asked(spec, query.model, generation)
        self._auditor.sample(query, hit, asked, remote=spec.remote)

    def give_way(self) -> None:
        """Somebody waits for an answer: stop, and begin nothing until `resume`."""
        with self._lock:
            self._busy += 1
            if self._job is not None:
                self._job.cancel()

    def resume(self) -> None:
        with self._lock:
            self._busy -= 1

    def clear(self) -> None:
        """Forget what waits to be audited."""
        self._auditor.clear()

    def close(self) -> None:
        self.give_way()
        self._auditor.close()

    # --- the auditor's side: cache_store.audit.Repeater ----------------------------------------

    def bytes_of(self, request: _Asked) -> int:
        parts = [part for message in request.generation.messages for part in message.parts]
        return sum(part.width * part.height * 3 for part in parts if isinstance(part, Image))

    def hold(self, request: _Asked) -> _Asked:
        """The request with its pixels in memory, since uploads are kept for a while only."""
        try:
            messages = tuple(_with_pixels(message) for message in request.generation.messages)
        except QwenUIError as error:
            raise CannotRepeat(str(error)) from error
        return replace(request, generation=replace(request.generation, messages=messages))

    def repeat(self, request: _Asked) -> Answer | None:
        engine = self._registry.loaded(request.model)
        if engine is None:
            return None
        if engine.spec.fingerprint() != request.spec.fingerprint():
            raise CannotRepeat("another build of the model is loaded")
        heard = _Heard()
        with self._lock:
            if self._busy:
                return None
            try:
                self._job = engine.submit(request.generation, heard, priority=Priority.AUDIT)
            except (EngineBusy, EngineClosed):
                return None
        heard.ended.wait()
        with self._lock:
            self._job = None
        return heard.answer()


class _Heard:
    """An engine's listener that only collects."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._text: list[str] = []
        self._thought: list[str] = []
        self._end: Completion | Failure | None = None

    def __call__(self, event: EngineEvent) -> None:
        match event:
            case TextDelta(text):
                self._text.append(text)
            case ThoughtDelta(text):
                self._thought.append(text)
            case Completion() | Failure():
                self._end = event
                self.ended.set()

    def answer(self) -> Answer | None:
        """What was said; None when it was cancelled. Raises CannotRepeat when it failed."""
        end = self._end
        if not isinstance(end, Completion):
            raise CannotRepeat(str(end.error) if end else "the engine said nothing")
        if end.reason is end.reason.CANCELLED:
            return None
        return answer_of(self._text, self._thought, end)


def _with_pixels(message: Message) -> Message:
    parts = tuple(_held(part) if isinstance(part, Image) else part for part in message.parts)
    return Message(message.role, parts)


def _held(image: Image) -> Image:
    pixels: PILImage.Image = image.load()
    return replace(image, load=lambda: pixels)
