"""Which models there are, which one is loaded, and how a switch happens while others read."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

from qwen_ui.engines.base import Engine, EngineSpec
from qwen_ui.engines.memory import Memory, check_fits, in_the_way, look
from qwen_ui.errors import EngineBusy, ModelFailed, QwenUIError, UnknownModel, without_frames
from qwen_ui.events import ModelStatus
from qwen_ui.types import ModelInfo, ModelState

log = logging.getLogger(__name__)

_RESOLVING = 4  # callers that may wait for an identity: half of the service's lookup threads

Progress = Callable[[float], None]  # 0 to 1


class ModelSource(Protocol):
    """A model that can be loaded."""

    @property
    def name(self) -> str: ...

    def resolve(self) -> EngineSpec:
        """The identity, found without loading weights. Raises errors.ModelFailed."""
        ...

    def load(self, spec: EngineSpec, progress: Progress) -> Engine:
        """Load exactly what `spec` says. Raises errors.ModelFailed."""
        ...


class _Slot:
    """One model's place: its source, its identity once known, its engine while loaded."""

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self.lock = threading.Lock()  # held while resolving
        self.spec: EngineSpec | None = None
        self.loading: Future[Engine] | None = None
        self.progress = 0.0
        self.error: QwenUIError | None = None


class EngineRegistry:
    """Loads come one after another; at most `keep_loaded` models stay in memory, fewer where it is
    too small for so many.

    Before a load the least recently used engines are closed: their running answers finish, new
    questions to them load them again. A model that cannot fit is refused before that. Thread-safe.
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        keep_loaded: int = 1,
        look: Callable[[str], Memory | None] = look,
    ) -> None:
        self._slots = {source.name: _Slot(source) for source in sources}
        self._default = sources[0].name
        self._keep = keep_loaded
        self._look = look
        self._loaded: OrderedDict[str, Engine] = OrderedDict()  # the last one was used last
        self._lock = threading.Lock()
        self._leaving: list[Engine] = []  # still in memory, until their answers have ended
        self._left = threading.Condition(self._lock)
        self._closed = False
        self._resolving = threading.BoundedSemaphore(_RESOLVING)
        self._one_load = threading.Lock()

    @property
    def default(self) -> str:
        return self._default

    def models(self) -> tuple[ModelInfo, ...]:
        """What there is, in the order of the picker."""
        return tuple(self._info(name, slot) for name, slot in self._slots.items())

    def status(self, name: str) -> ModelStatus:
        """How far a model is, for those who wait for it. Raises errors.UnknownModel."""
        info = self._info(name, self._slot(name))
        return ModelStatus(name, info.state, info.progress)

    def spec(self, name: str) -> EngineSpec:
        """The identity of a model; the first time it reads files or asks a hub, so not for the
        event loop. Few callers at a time may wait for that: hits of other models need threads too.

        Raises errors.UnknownModel, errors.ModelFailed, errors.EngineBusy.
        """
        slot = self._slot(name)
        if slot.spec is not None:
            return slot.spec
        if not self._resolving.acquire(blocking=False):
            raise EngineBusy(_RESOLVING)
        try:
            with _told_clearly(name):
                return _resolved(slot)
        finally:
            self._resolving.release()

    def engine(self, name: str) -> Future[Engine]:
        """The loaded engine, now or as soon as it is loaded; never blocks.

        The future raises errors.ModelFailed; a later call tries again.
        """
        slot = self._slot(name)
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                ready: Future[Engine] = Future()
                ready.set_result(self._loaded[name])
                return ready
            if self._closed:
                return _failed(_shutting_down(name))
            if slot.loading is None:
                slot.progress, slot.error = 0.0, None
                slot.loading = self._begin_load(name, slot)
            return slot.loading

    def loaded(self, name: str) -> Engine | None:
        """The engine if it is in memory; no use of it, so it may still be the next to go."""
        with self._lock:
            return self._loaded.get(name)

    def unload(self, name: str) -> bool:
        """Give a model's memory back; the next question to it loads it again. Blocks until its
        queued answers have ended. False when it was not in memory. Raises errors.UnknownModel."""
        self._slot(name)
        with self._lock:
            engine = self._loaded.pop(name, None)
            if engine is None:
                return False
            self._leaving.append(engine)
        log.info("unloading %s", name)
        try:
            engine.close()
        finally:
            with self._left:
                self._leaving.remove(engine)
                self._left.notify_all()
        return True

    def close(self) -> None:
        """Close every engine; blocks until running answers have ended, but not for a load."""
        with self._lock:
            self._closed = True
            engines = list(self._loaded.values())
            self._loaded.clear()
        for engine in engines:
            engine.close()

    def _slot(self, name: str) -> _Slot:
        try:
            return self._slots[name]
        except KeyError:
            raise UnknownModel(name) from None

    def _begin_load(self, name: str, slot: _Slot) -> Future[Engine]:
        future: Future[Engine] = Future()
        future.set_running_or_notify_cancel()  # a reader that leaves must not cancel it for others
        # a daemon: a download of gigabytes must not hold up the end of the program
        loader = threading.Thread(
            target=self._load, args=(name, slot, future), name=f"load-{name}", daemon=True
        )
        loader.start()
        return future

    def _load(self, name: str, slot: _Slot, future: Future[Engine]) -> None:
        with self._one_load:
            try:
                engine = self._loaded_from(name, slot)
            except QwenUIError as error:
                log.error("%s", error)
                without_frames(error)
                with self._lock:
                    slot.loading, slot.error = None, error
                future.set_exception(error)
                return
            with self._lock:
                closed = self._closed
                if not closed:
                    self._loaded[name] = engine
                slot.loading = None
            if closed:
                engine.close()
                future.set_exception(_shutting_down(name))
            else:
                log.info("%s is ready (%s)", name, _told(engine.spec))
                future.set_result(engine)

    def _loaded_from(self, name: str, slot: _Slot) -> Engine:
        def report(fraction: float) -> None:
            slot.progress = fraction

        with _told_clearly(name):
            spec = _resolved(slot)
            self._make_room(spec)
            return slot.source.load(spec, report)

    def _make_room(self, spec: EngineSpec) -> None:
        check_fits(spec, self._look(spec.device))
        while True:
            with self._left:  # what is unloaded by hand may yet hold the memory
                self._left.wait_for(lambda: spec.remote or not self._leaving)
            memory = self._look(spec.device)
            with self._lock:
                loaded = {name: engine.spec for name, engine in self._loaded.items()}
            name = in_the_way(spec, loaded, self._keep, memory)
            if name is None:
                return
            self.unload(name)

    def _info(self, name: str, slot: _Slot) -> ModelInfo:
        with self._lock:
            spec, demo = slot.spec, bool(slot.spec and slot.spec.demo)
            if name in self._loaded:
                state, progress = ModelState.READY, 1.0
            elif slot.loading is not None:
                state, progress = ModelState.LOADING, slot.progress
            elif slot.error is not None:
                reason = str(slot.error.params.get("reason", slot.error))
                return ModelInfo(name, ModelState.FAILED, 0.0, reason, demo)
            else:
                state, progress = ModelState.UNLOADED, 0.0
        if spec is None:
            return ModelInfo(name, state, progress, "", demo)
        native = spec.video == "native"
        return ModelInfo(name, state, progress, _told(spec), demo, spec.max_pixels, native)


@contextmanager
def _told_clearly(name: str) -> Iterator[None]:
    """Whatever foreign code raises over foreign files becomes one sentence."""
    try:
        yield
    except QwenUIError:
        raise
    except Exception as error:
        log.exception("loading %s failed", name)
        raise ModelFailed(name, f"{type(error).__name__}: {error}") from error


def _resolved(slot: _Slot) -> EngineSpec:
    with slot.lock:
        if slot.spec is None:
            slot.spec = slot.source.resolve()
        return slot.spec


def _told(spec: EngineSpec) -> str:
    return " · ".join(filter(None, (spec.device, spec.dtype, spec.attention)))


def _shutting_down(name: str) -> ModelFailed:
    return ModelFailed(name, "the server is shutting down")


def _failed(error: QwenUIError) -> Future[Engine]:
    future: Future[Engine] = Future()
    future.set_exception(error)
    return future
