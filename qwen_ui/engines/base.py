"""What every engine is: an identity that is known before it is loaded, and a queue of jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

from qwen_ui.engines.interrupt import StopSign
from qwen_ui.errors import QwenUIError
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import FinishReason, Message, SamplingParams


@dataclass(frozen=True, slots=True)
class Sampling:
    """Effective sampling parameters. Greedy has exactly one spelling, so that keys meet."""

    temperature: float = 0.0  # 0: greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    seed: int = 0

    @classmethod
    def resolve(cls, asked: SamplingParams, default: Sampling) -> Sampling:
        """`asked` with the model's defaults filled in; parameters that greedy ignores are reset."""
        temperature = default.temperature if asked.temperature is None else asked.temperature
        if temperature == 0:
            return cls()
        return cls(
            temperature=float(temperature),
            top_p=float(default.top_p if asked.top_p is None else asked.top_p),
            top_k=default.top_k if asked.top_k is None else asked.top_k,
            seed=default.seed if asked.seed is None else asked.seed,
        )


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything about an engine that can change an answer; resolved before loading, then obeyed.

    `revision`: a hub commit, or a digest over the folder's weights. `inputs`: a digest over
    tokenizer, chat template, picture and video processing. `kernels`: device name, instruction set,
    threads. `sampling` (the defaults) is not in the fingerprint: the key holds the effective one.
    """

    engine: str
    model: str
    source: str
    revision: str
    dtype: str
    attention: str
    device: str
    kernels: str
    inputs: str
    min_pixels: int
    max_pixels: int
    context_tokens: int
    versions: tuple[str, ...]
    quantization: str = "none"
    decoding: str = "eager"  # how one token follows another
    chunk_tokens: int = 0  # the longest chunk of a prefill: other chunks give other bits
    video: str = "pictures"  # how it reads one: see video_input
    thinking: bool = False
    demo: bool = False
    remote: bool = False  # another server's model: its answers may change without our knowing
    sampling: Sampling = Sampling()
    weight_bytes: int = 0  # 0: not known, or not in this machine's memory

    def repeats(self, sampling: Sampling) -> bool:
        """Whether asking again gives the same answer, as far as we can know: only our own sampler
        is sure to draw the same tokens from the same seed."""
        return not self.remote or sampling.temperature == 0

    def fingerprint(self) -> str:
        """Hex SHA-256 over all fields that decide an answer."""
        return _fingerprint(self)


@lru_cache(maxsize=64)
def _fingerprint(spec: EngineSpec) -> str:
    fields = asdict(spec)
    # a place, defaults (in the key), labels, and what the revision says already
    for name in ("source", "sampling", "demo", "remote", "weight_bytes"):
        del fields[name]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What an engine is asked: canonical messages and effective parameters.

    `sharing`: requests of one value may save each other work, never those of two (the work that
    is saved could be told by its time). It changes no answer. `max_tokens` 0 is `prepare`.
    Past `thought_tokens` a thinking model's thought is ended for it; None: no limit.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    max_tokens: int
    thought_tokens: int | None = None
    sharing: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a run that did not fail.

    Seconds are counted from the moment the worker took the job: `first_token_s` to the first
    token, `elapsed_s` to the end; `busy_s` is the part spent inside the model. `cached_tokens` of
    the prompt were not computed again; of `known_pictures` at least the encoding was not.
    """

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    first_token_s: float
    elapsed_s: float
    busy_s: float
    cached_tokens: int = 0  # of the prompt, that needed no prefill; 0 also where nobody tells
    known_pictures: int = 0  # pictures that needed no encoding


CANCELLED = Completion(FinishReason.CANCELLED, 0, 0, 0.0, 0.0, 0.0)  # before its first token


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a run that failed."""

    error: QwenUIError


EngineEvent = ThoughtDelta | TextDelta | Completion | Failure
Listener = Callable[[EngineEvent], None]


class Priority(IntEnum):
    """What goes first: the lower number."""

    ANSWER = 0  # somebody reads it
    PREPARE = 1  # somebody will probably ask: gives way to answers, and goes on after them
    AUDIT = 2  # begins only if there is nothing else; the next request of another kind ends it


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: `ahead` others come first, which takes about `wait_s` seconds (None:
    nothing to judge by yet)."""

    ahead: int
    wait_s: float | None


OnMove = Callable[[Place], None]


@dataclass(slots=True)
class Job:
    """A submitted request. Any thread may cancel it; cancelling twice or late does nothing."""

    request: GenerationRequest
    listener: Listener
    priority: Priority = Priority.ANSWER
    stop: StopSign = field(default_factory=StopSign)

    def cancel(self) -> None:
        self.stop.set()


class EngineClosed(Exception):
    """The engine was unloaded between being found and being asked: find it again."""


class Engine(Protocol):
    """A loaded model. Thread-safe; never blocks the caller for the length of an answer."""

    @property
    def spec(self) -> EngineSpec: ...

    @property
    def waiting(self) -> int:
        """Answers that are queued or running, as far as a new one has to wait for them."""
        ...

    def submit(
        self,
        request: GenerationRequest,
        listener: Listener,
        *,
        priority: Priority = Priority.ANSWER,
        visitor: str = "",
        on_move: OnMove | None = None,
    ) -> Job:
        """Queue a request. `listener` is called on the worker's thread: deltas in order, then
        exactly one Completion or Failure; on the canceller's thread where the job never ran.
        Visitors take turns; a request of `visitor` "" is a visitor of its own. `on_move` hears the
        place of an answer that has to wait, at first and whenever it changes, before any delta. It
        is called while the queue is locked: it must return at once and ask nothing of the engine.

        Raises errors.EngineBusy when the queue is full (for an audit: when there is anything else
        to do), EngineClosed after `close`.
        """
        ...

    def prepare(self, messages: tuple[Message, ...], sharing: str = "") -> Job:
        """Do ahead what every question that begins with these messages needs. Answers go first.

        Raises as `submit` does.
        """
        ...

    def forget(self) -> None:
        """Forget all pictures and prompts; an answer that runs leaves nothing behind either."""
        ...

    def close(self) -> None:
        """Finish queued and running answers, then release the model. Blocks until that is done."""
        ...
