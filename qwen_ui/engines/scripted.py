"""An engine for tests: says what its script says, and releases tokens on command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from qwen_ui.engines.base import (
    Completion,
    EngineSpec,
    GenerationRequest,
    Job,
)
from qwen_ui.engines.local import LocalEngine
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import QwenUIError
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import FinishReason

Script = Callable[[GenerationRequest], Sequence[str]]


def echo(request: GenerationRequest) -> Sequence[str]:
    """The words of the last message's text, one token each."""
    text = " ".join(part for part in request.messages[-1].parts if isinstance(part, str))
    return [word + " " for word in f"You asked: {text}".split(" ")]


def scripted_spec(model: str = "scripted", revision: str = "1") -> EngineSpec:
    """The identity of a scripted engine."""
    return EngineSpec(
        engine="scripted",
        model=model,
        source="tests",
        revision=revision,
        dtype="none",
        attention="none",
        device="none",
        kernels="none",
        inputs="none",
        min_pixels=1,
        max_pixels=1 << 20,
        context_tokens=1 << 16,
        versions=(),
    )


class ScriptedEngine(LocalEngine):
    """Emits `script(request)` token by token. `hold()` stops the flow, `release(n)` lets n tokens
    pass, `release()` opens the gate. A token that begins with `<think>` is a thought."""

    def __init__(
        self,
        spec: EngineSpec | None = None,
        script: Script = echo,
        *,
        held: bool = False,
        max_queue: int = 32,
    ) -> None:
        self.spec = spec or scripted_spec()
        self.computed: list[GenerationRequest] = []  # every request that was really run
        self.prepared: list[GenerationRequest] = []
        self.forgets = 0
        self.known = (0, 0)  # tokens and pictures that the next answers find known
        self._script = script
        self._allowed = 0 if held else None
        self._error: QwenUIError | None = None
        self._changed = threading.Condition()
        self._worker = Worker(self.spec.model, self._answer, max_queue)

    def forget(self) -> None:
        self.forgets += 1

    def close(self) -> None:
        self.release()
        self._worker.close()

    def hold(self) -> None:
        """From now on no token passes until it is released."""
        self._set_allowed(0)

    def release(self, tokens: int | None = None) -> None:
        """Let `tokens` more pass; None: all, from now on."""
        self._set_allowed(None if tokens is None else (self._allowed or 0) + tokens)

    def fail_next(self, error: QwenUIError) -> None:
        """The running or next answer fails at its next token."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _set_allowed(self, tokens: int | None) -> None:
        with self._changed:
            self._allowed = tokens
            self._changed.notify_all()

    def _pass(self, stop: threading.Event) -> bool:
        """Wait for a token's release; False when the job was stopped meanwhile."""
        with self._changed:
            while self._allowed == 0 and self._error is None and not stop.is_set():
                self._changed.wait(0.02)  # stop is an event of its own, so look now and then
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if stop.is_set():
                return False
            if self._allowed is not None:
                self._allowed -= 1
            return True

    def _answer(self, job: Job) -> Completion:
        if job.request.max_tokens == 0:
            self.prepared.append(job.request)
            return Completion(FinishReason.LENGTH, 0, 0, 0.0, 0.0, 0.0)
        self.computed.append(job.request)
        for part in job.request.messages[-1].parts:
            if not isinstance(part, str):
                part.load()
        began = time.perf_counter()
        first_s = 0.0
        reason, count = FinishReason.STOP, 0
        for token in self._script(job.request):
            if count == job.request.max_tokens:
                reason = FinishReason.LENGTH
                break
            if not self._pass(job.stop):
                reason = FinishReason.CANCELLED
                break
            count += 1
            first_s = first_s or time.perf_counter() - began
            thought = token.removeprefix("<think>")
            job.listener(TextDelta(token) if thought == token else ThoughtDelta(thought))
        elapsed = time.perf_counter() - began
        turns = len(job.request.messages)
        return Completion(reason, turns, count, first_s, elapsed, elapsed, *self.known)
