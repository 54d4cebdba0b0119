"""A ChatService over scripted models, and how tests talk to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from cache_store.cache import ResponseCache, open_cache
from cache_store.types import CachePolicy
from qwen_ui.chat import ChatService
from qwen_ui.engines.base import Engine, EngineSpec
from qwen_ui.engines.registry import EngineRegistry, Progress
from qwen_ui.engines.scripted import ScriptedEngine, scripted_spec
from qwen_ui.errors import QwenUIError
from qwen_ui.events import CacheStatus, ChatEvent, Finish, TextDelta, ThoughtDelta, Usage
from qwen_ui.images import ImageOpener
from qwen_ui.media import MediaStore
from qwen_ui.settings import Settings
from qwen_ui.types import ChatRequest, Image, Message
from qwen_ui.uploads import Uploads
from qwen_ui.videos import VideoOpener, video_limits
from qwen_ui.visibility import open_visibility


class ScriptedSource:
    """A model whose loading waits for `gate` and fails with `error`."""

    def __init__(self, name: str = "scripted", **options: Any) -> None:
        self.name = name
        self.spec = scripted_spec(name)
        self.engines: list[ScriptedEngine] = []  # every one that was ever loaded
        self.loads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._options = options

    @property
    def engine(self) -> ScriptedEngine:
        """The one that was loaded last."""
        return self.engines[-1]

    def resolve(self) -> EngineSpec:
        return self.spec

    def load(self, spec: EngineSpec, progress: Progress) -> Engine:
        self.loads += 1
        progress(0.5)
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.engines.append(ScriptedEngine(spec, **self._options))
        return self.engines[-1]


class Chat:
    """A service in a directory; `sources` are its models, the first is the default."""

    def __init__(
        self,
        directory: Path,
        *sources: ScriptedSource,
        keep_loaded: int = 1,
        on_disk: bool = True,
        **settings: Any,
    ) -> None:
        self.sources = sources or (ScriptedSource(),)
        self.settings = Settings(cache_dir=directory, **{"audit_rate": 0.0} | settings)
        policy = CachePolicy(
            self.settings.cache_ttl_s,
            self.settings.memory_max_bytes,
            self.settings.cache_max_bytes,
            self.settings.cache_ttl_now_s,
        )
        self.cache: ResponseCache = open_cache(directory if on_disk else None, policy)
        self.media = MediaStore(
            directory / "media", self.settings.media_max_bytes, self.settings.media_ttl_s
        )
        self.images = ImageOpener(
            self.cache.memo,
            self.media,
            max_bytes=self.settings.max_upload_bytes,
            max_pixels=self.settings.max_image_pixels,
        )
        self.videos = VideoOpener(self.cache.videos, self.media, video_limits(self.settings))
        self.registry = EngineRegistry(self.sources, keep_loaded)
        visibility = open_visibility(self.settings.visibility, directory)
        uploads = Uploads(self.media, self.images, self.videos)
        self.service = ChatService(self.cache, self.registry, uploads, self.settings, visibility)
        self._closed = False

    @property
    def engine(self) -> ScriptedEngine:
        return self.sources[0].engine

    @property
    def computed(self) -> int:
        """How many answers the models were really asked for."""
        return sum(len(e.computed) for source in self.sources for e in source.engines)

    def request(self, *parts: str | Image, **options: Any) -> ChatRequest:
        return self.service.open([Message("user", parts)], **options)

    async def ask(self, *parts: str | Image, **options: Any) -> list[ChatEvent]:
        return await collect(self.service.stream(self.request(*parts, **options)))

    async def close(self, grace_s: float = 0.0) -> None:
        if not self._closed:
            self._closed = True
            for source in self.sources:
                source.gate.set()
            await asyncio.to_thread(self.service.close, grace_s)


async def collect(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


def text(events: Sequence[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thought(events: Sequence[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ThoughtDelta))


def status(events: Sequence[ChatEvent]) -> CacheStatus:
    first = events[0]
    assert isinstance(first, CacheStatus)
    return first


def is_hit(events: Sequence[ChatEvent]) -> bool:
    return status(events).hit


def stored(events: Sequence[ChatEvent]) -> bool:
    return any(isinstance(event, CacheStatus) and event.stored for event in events)


def usage(events: Sequence[ChatEvent]) -> Usage:
    (found,) = [event for event in events if isinstance(event, Usage)]
    return found


def finish(events: Sequence[ChatEvent]) -> Finish:
    last = events[-1]
    assert isinstance(last, Finish)
    return last


async def error_of(events: AsyncIterator[ChatEvent]) -> QwenUIError:
    """The error that a stream ends with."""
    try:
        await collect(events)
    except QwenUIError as error:
        return error
    raise AssertionError("the stream ended well")
