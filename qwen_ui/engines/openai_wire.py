"""The OpenAI chat completions API: a request as it is sent, and an answer as it is read.

https://platform.openai.com/docs/api-reference/chat, with what vLLM, SGLang, llama.cpp and
`transformers serve` do otherwise.
"""

from __future__ import annotations

import json
import time
from typing import Any

from qwen_ui.engines.base import Completion, EngineSpec, GenerationRequest, Listener, Sampling
from qwen_ui.engines.data_url import data_url
from qwen_ui.engines.thoughts import Delta, Thoughts
from qwen_ui.engines.trouble import Retry, Trouble, failed, of_status, told
from qwen_ui.remote_errors import RemoteCut, RemoteFiltered
from qwen_ui.types import FinishReason, Message

WIRE = "chat-1"  # raised when the same request is sent otherwise: part of the engine's identity

# fields that some servers refuse to read; without them they answer well enough
OPTIONAL = ("stream_options", "top_k", "seed")
LONGEST = "max_tokens"  # servers refuse more than the context has room for

_FINISHED = {
    "stop": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


def body_of(request: GenerationRequest, spec: EngineSpec) -> dict[str, Any]:
    """What is posted. Decodes and encodes pictures, so not for the event loop.

    Raises errors.PictureGone.
    """
    return {
        "model": spec.model,
        "messages": [_message(message, spec.max_pixels) for message in request.messages],
        LONGEST: request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request.sampling),
    }


def _message(message: Message, max_pixels: int) -> dict[str, Any]:
    match message.parts:
        case (str(text),):  # plain text: many templates read no parts in what is not a question
            return {"role": message.role, "content": text}
        case parts:
            return {"role": message.role, "content": [_part(part, max_pixels) for part in parts]}


def _part(part: Any, max_pixels: int) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part, max_pixels)}}


def _sampling(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"temperature": 0}
    sent = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    return sent | ({"top_k": sampling.top_k} if sampling.top_k else {})


class Reading:
    """One answer as it is read, chunk by chunk; tells the listener of every piece."""

    def __init__(self, listener: Listener, spec: EngineSpec) -> None:
        self._listener = listener
        self._model = spec.model
        self._thoughts = Thoughts(opened=spec.thinking)
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._began = time.perf_counter()
        self._first_at = 0.0
        self.unlimited = False  # nothing but the context cuts it

    @property
    def spoke(self) -> bool:
        """Whether the listener has heard anything: then nobody else may be asked."""
        return self._first_at > 0

    @property
    def ended(self) -> bool:
        """Whether the model has told how it ended; the counts may still be on their way."""
        return self._reason is not None

    def push(self, payload: str) -> None:
        """The JSON of one chunk, or of a whole answer that was not streamed. Raises Trouble."""
        try:
            deltas = self._read(json.loads(payload))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise failed("what it answers is not a chat completion") from None
        for delta in deltas:
            self._tell(delta)

    def check(self) -> None:
        """The stream is over. Raises Trouble unless the answer is whole: a stream that ends
        without a reason has been cut, whatever came before."""
        if self._reason is None:
            raise Trouble(RemoteCut(), Retry.AGAIN, fault=True)
        if self._reason == "abort":  # vLLM that is being shut down
            raise Trouble(RemoteCut(), Retry.NEVER, fault=True)
        if self._reason == "content_filter":
            raise Trouble(RemoteFiltered(), Retry.NEVER)
        if self._reason not in _FINISHED:
            raise failed(f"it ended the answer with {self._reason}", Retry.NEVER)

    def completion(self, max_tokens: int, began: float) -> Completion:
        """The end of a whole answer; `began`: when the job was taken."""
        for delta in self._thoughts.end():
            self._tell(delta)
        ended = time.perf_counter()
        tokens = _count(self._usage, "completion_tokens")
        details = self._usage.get("prompt_tokens_details")
        return Completion(
            reason=self._finish(tokens, max_tokens),
            prompt_tokens=_count(self._usage, "prompt_tokens"),
            completion_tokens=tokens,
            first_token_s=self._first_at - began if self.spoke else ended - began,
            elapsed_s=ended - began,
            busy_s=ended - self._began,
            cached_tokens=_count(details, "cached_tokens"),
        )

    def _read(self, chunk: dict[str, Any]) -> list[Delta]:
        if chunk.get("error"):
            raise self._refused(chunk["error"])
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        deltas: list[Delta] = []
        for choice in (chunk.get("choices") or [])[:1]:  # none where the counts are
            said = choice.get("delta") or choice.get("message") or {}
            if thought := said.get("reasoning_content") or said.get("reasoning"):
                deltas += self._thoughts.thought(thought)
            if text := said.get("content"):
                deltas += self._thoughts.text(text)
            self._reason = choice.get("finish_reason") or self._reason
        return deltas

    def _refused(self, error: Any) -> Trouble:
        """SGLang, and vLLM in mid-answer, send errors as a chunk with a status of its own."""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and code >= 400 else 500
        return of_status(status, told(error), self._model)

    def _tell(self, delta: Delta) -> None:
        self._first_at = self._first_at or time.perf_counter()
        self._listener(delta)

    def _finish(self, tokens: int, max_tokens: int) -> FinishReason:
        reason = _FINISHED[self._reason or ""]
        if reason is FinishReason.LENGTH and (self.unlimited or tokens not in (0, max_tokens)):
            return FinishReason.CONTEXT  # cut by a limit of the server's own
        return reason


def _count(counts: Any, name: str) -> int:
    """A count that the server tells; 0 where it tells none."""
    told = counts.get(name) if isinstance(counts, dict) else None
    return told if isinstance(told, int) else 0
