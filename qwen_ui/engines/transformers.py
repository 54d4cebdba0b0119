"""Qwen3-VL in this process: one model, one worker thread, one request at a time.

Only the worker touches the model: `rope_deltas` is one attribute for all requests, so every
forward gets explicit positions, and nothing reads or writes it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import torch
from transformers import DynamicCache

from qwen_ui.engines.base import (
    Completion,
    EngineSpec,
    GenerationRequest,
    Job,
    Listener,
    OnMove,
    Priority,
)
from qwen_ui.engines.detokenizer import Detokenizer
from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.engines.prompt import Prompt, build_prompt
from qwen_ui.engines.sampler import Sampler
from qwen_ui.engines.thought_budget import ThoughtBudget, thought_marks
from qwen_ui.engines.worker import Worker
from qwen_ui.errors import OutOfMemory
from qwen_ui.types import FinishReason

_NEVER_GENERATED = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


class TransformersEngine:
    """A loaded model and its thread. Made by `loader.load_engine`."""

    def __init__(
        self, spec: EngineSpec, model: Any, processor: PictureProcessor, max_queue: int = 32
    ) -> None:
        self.spec = spec
        self._model: Any = model
        self._processor = processor
        self._end_ids = _end_ids(model, processor)
        self._suppressed = _ids(processor, _NEVER_GENERATED)
        self._thought_marks = thought_marks(processor.tokenizer)
        self._worker = Worker(spec.model, self._answer, max_queue)

    @property
    def waiting(self) -> int:
        return self._worker.waiting

    def submit(
        self,
        request: GenerationRequest,
        listener: Listener,
        *,
        priority: Priority = Priority.ANSWER,
        visitor: str = "",
        on_move: OnMove | None = None,
    ) -> Job:
        return self._worker.submit(
            request, listener, priority=priority, visitor=visitor, on_move=on_move
        )

    def close(self) -> None:
        """Finish what is queued, then give the memory back."""
        self._worker.close()
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _answer(self, job: Job) -> Completion:
        try:
            return self._generate(job)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # the CPU allocator has no error of its own
                raise OutOfMemory from error
            raise

    @torch.inference_mode()
    def _generate(self, job: Job) -> Completion:
        began = time.perf_counter()
        request = job.request
        prompt = build_prompt(
            request.messages, self._processor, self._model, self.spec.context_tokens
        )
        room = self.spec.context_tokens - prompt.length
        text = self._detokenizer()
        budget = ThoughtBudget(
            request.thought_tokens, self._thought_marks, thinking=self.spec.thinking
        )
        sampler = Sampler(request.sampling, self._suppressed, budget)
        device_began = time.perf_counter()
        first_s, count, reason = 0.0, 0, FinishReason.CANCELLED
        for token in self._tokens(prompt, sampler, job):
            count += 1
            first_s = first_s or time.perf_counter() - began
            if token in self._end_ids:
                reason = FinishReason.STOP
                break
            delta = text.push(token)
            if delta is not None:
                job.listener(delta)
            if count == request.max_tokens:
                reason = FinishReason.LENGTH
                break
            if count == room:
                reason = FinishReason.CONTEXT
                break
        if budget.cut and reason in (FinishReason.STOP, FinishReason.LENGTH):
            reason = FinishReason.THOUGHT
        ended = time.perf_counter()
        return Completion(
            reason, prompt.length, count, first_s, ended - began, ended - device_began
        )

    def _tokens(self, prompt: Prompt, sampler: Sampler, job: Job) -> Iterator[int]:
        """Prefill, then one token after another until somebody breaks off or stops the job."""
        model, device = self._model, self._model.device
        cache = DynamicCache(config=model.config.get_text_config())
        logits = model(
            input_ids=prompt.input_ids.to(device),
            position_ids=prompt.position_ids.to(device),
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
            **_pictures(prompt, device),
        ).logits[0, -1]
        position = torch.tensor([prompt.length, *[prompt.next_position] * 3], device=device).view(
            4, 1, 1
        )
        while not job.stop.is_set():
            token = sampler.choose(logits)
            yield token
            logits = model(
                input_ids=torch.tensor([[token]], device=device),
                position_ids=position,
                past_key_values=cache,
                logits_to_keep=1,
                use_cache=True,
            ).logits[0, -1]
            position = position + 1

    def _detokenizer(self) -> Detokenizer:
        tokenizer = self._processor.tokenizer
        known = tokenizer.get_added_vocab()
        return Detokenizer(
            tokenizer.backend_tokenizer,
            thinking=self.spec.thinking,
            think=known.get("<think>"),
            end_think=known.get("</think>"),
        )


def _pictures(prompt: Prompt, device: torch.device) -> dict[str, torch.Tensor]:
    if prompt.pixel_values is None or prompt.image_grid_thw is None:
        return {}
    return {
        "pixel_values": prompt.pixel_values.to(device),
        "image_grid_thw": prompt.image_grid_thw.to(device),
    }


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
