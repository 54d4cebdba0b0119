"""Qwen3-VL in this process: one model, one worker thread, one request at a time.

Only the worker touches the model: `rope_deltas` is one attribute for all requests, so every
forward gets explicit positions, and nothing reads or writes it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineSpec,
    Job,
    Priority,
)
from qwen_ui.engines.chunks import chunk_rule
from qwen_ui.engines.decoding import make_decoder
from qwen_ui.engines.detokenizer import Detokenizer
from qwen_ui.engines.feature_cache import FeatureCache
from qwen_ui.engines.interrupt import Stopped
from qwen_ui.engines.local import LocalEngine
from qwen_ui.engines.prefill import Filled, Known, Machine, Prefill
from qwen_ui.engines.prefix_cache import PrefixCache
from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.engines.prompt import Prompt, build_prompt
from qwen_ui.engines.sampler import Sampler
from qwen_ui.engines.thought_budget import ThoughtBudget, thought_marks
from qwen_ui.engines.video_input import VideoInput
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import OutOfMemory
from qwen_ui.types import FinishReason

# what has no error of its own: torch's allocator on a CPU, libraries on a GPU
_SHORT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
_NEVER_GENERATED = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Bytes for what a model may keep of the pictures and prompts that it has seen."""

    features: int = 512 * 2**20
    prefixes: int = 1024 * 2**20
    device_prefixes: int = 1024 * 2**20  # before they move to host memory; nothing on a CPU


class TransformersEngine(LocalEngine):
    """A loaded model and its thread. Made by `loader.load_engine`."""

    def __init__(
        self,
        spec: EngineSpec,
        model: Any,
        processor: PictureProcessor,
        max_queue: int = 32,
        budgets: Budgets = Budgets(),
        video: VideoInput | None = None,
    ) -> None:
        self.spec = spec
        rule = chunk_rule(processor.tokenizer, spec.chunk_tokens)
        self._decoder, short_chunks = make_decoder(spec.decoding, model)
        self._machine = Machine(model, processor, rule, video, short_chunks)
        self._budgets = budgets
        self._known = _nothing_known(budgets)
        self._end_ids = _end_ids(model, processor)
        self._suppressed = _ids(processor, _NEVER_GENERATED)
        self._thought_marks = thought_marks(processor.tokenizer)
        self._worker = Worker(spec.model, self._answer, max_queue, self._make_room)

    def forget(self) -> None:
        self._known = _nothing_known(self._budgets)  # an answer that runs goes on with the old one

    def close(self) -> None:
        """Finish what is queued, then give the memory back. May be called twice."""
        self._worker.close()
        if self._machine.model is None:
            return
        self._make_room()
        self._machine.model = self._machine.short_chunks = None
        del self._decoder
        _collect()

    @torch.inference_mode()
    def _answer(self, job: Job) -> Completion:
        try:
            with _memory_errors_told():
                return self._prepare(job) if job.request.max_tokens == 0 else self._generate(job)
        except Stopped:
            return CANCELLED

    def _prepare(self, job: Job) -> Completion:
        began = time.perf_counter()
        self._prefill(self._prompt(job), job).prepare()
        spent_s = time.perf_counter() - began
        return Completion(FinishReason.LENGTH, 0, 0, 0.0, spent_s, spent_s)

    def _generate(self, job: Job) -> Completion:
        began = time.perf_counter()
        prompt = self._prompt(job)
        device_began = time.perf_counter()
        filled = self._prefill(prompt, job).run()
        budget = ThoughtBudget(
            job.request.thought_tokens, self._thought_marks, thinking=self.spec.thinking
        )
        sampler = Sampler(job.request.sampling, self._suppressed, budget)
        tokens = self._tokens(filled, prompt, sampler, job)
        cached_tokens, known_pictures = filled.cached_tokens, filled.known_pictures
        del filled  # a decoder with a buffer of its own needs the prompt's no longer
        reason, count, first_at = self._told(job, tokens, self.spec.context_tokens - prompt.length)
        if budget.cut and reason in (FinishReason.STOP, FinishReason.LENGTH):
            reason = FinishReason.THOUGHT
        ended = time.perf_counter()
        return Completion(
            reason=reason,
            prompt_tokens=prompt.length,
            completion_tokens=count,
            first_token_s=max(0.0, first_at - began),
            elapsed_s=ended - began,
            busy_s=ended - device_began,
            cached_tokens=cached_tokens,
            known_pictures=known_pictures,
        )

    def _told(
        self, job: Job, tokens: Iterator[tuple[int, torch.Tensor]], room: int
    ) -> tuple[FinishReason, int, float]:
        """Tell the listener as tokens come: why it ended, how many there were, and when the first
        one came (0: none did)."""
        text = self._detokenizer()
        first_at, count = 0.0, 0
        for token, _ in tokens:
            count += 1
            first_at = first_at or time.perf_counter()
            if token in self._end_ids:
                return FinishReason.STOP, count, first_at
            delta = text.push(token)
            if delta is not None:
                job.listener(delta)
            if count == job.request.max_tokens:
                return FinishReason.LENGTH, count, first_at
            if count == room:
                return FinishReason.CONTEXT, count, first_at
        return FinishReason.CANCELLED, count, first_at

    def _prompt(self, job: Job) -> Prompt:
        machine, most = self._machine, self.spec.context_tokens
        messages = job.request.messages
        return build_prompt(messages, machine.processor, machine.model, most, machine.video)

    def _prefill(self, prompt: Prompt, job: Job) -> Prefill:
        audit = job.priority is Priority.AUDIT  # no proof if it began with what it is to prove
        known = _nothing_known(Budgets(0, 0, 0)) if audit else self._known
        return Prefill(self._machine, prompt, job.request.sharing, known, job.stop)

    def _make_room(self) -> None:
        """Memory was short: all that can be computed again goes."""
        self.forget()
        self._decoder.release()
        _collect()

    def _tokens(
        self, filled: Filled, prompt: Prompt, sampler: Sampler, job: Job
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """One token after another, each with the logits that it was chosen from, until somebody
        breaks off or stops the job."""
        logits = filled.logits
        launch = self._decoder.start(filled.cache, prompt.length, prompt.next_position)
        del filled
        while not job.stop.is_set():
            token = sampler.choose(logits)
            following = launch(token)
            yield token, logits
            logits = following()

    def _detokenizer(self) -> Detokenizer:
        tokenizer = self._machine.processor.tokenizer
        known = tokenizer.get_added_vocab()
        return Detokenizer(
            tokenizer.backend_tokenizer,
            thinking=self.spec.thinking,
            think=known.get("<think>"),
            end_think=known.get("</think>"),
        )


def _nothing_known(budgets: Budgets) -> Known:
    return Known(
        FeatureCache(budgets.features), PrefixCache(budgets.prefixes, budgets.device_prefixes)
    )


@contextmanager
def _memory_errors_told() -> Iterator[None]:
    """Raises errors.OutOfMemory for what torch raises."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory from error
    except RuntimeError as error:
        if any(sign in str(error) for sign in _SHORT_OF_MEMORY):
            raise OutOfMemory from error
        raise


def _collect() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_ids(model: Any, processor: PictureProcessor) -> frozenset[int]:
    """What ends an answer: the model's own end tokens and the end of a turn."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(
        id for id in (*listed, processor.tokenizer.eos_token_id) if isinstance(id, int)
    ) | frozenset(_ids(processor, ("<|im_end|>", "<|endoftext|>")))


def _ids(processor: PictureProcessor, tokens: tuple[str, ...]) -> list[int]:
    known = processor.tokenizer.get_added_vocab()
    return [known[token] for token in tokens if token in known]
