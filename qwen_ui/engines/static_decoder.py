"""Decoding with a KV buffer that stays where it is, so that a step can be one CUDA graph.

A step of a 4B model is some hundred small kernels: launched one by one from Python, a GPU waits for
them most of the time. As a graph they are one launch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional as F
from transformers import Cache

from qwen_ui.engines.decode_step import (
    Shape,
    after_attention,
    before_attention,
    norm,
    take_weights,
)
from qwen_ui.engines.decoder import Launch
from qwen_ui.engines.split_attention import HIDDEN, attended_parts

SMALLEST = 1024  # tokens that a buffer holds

_Graph = tuple[Callable[[], None], torch.Tensor]  # run it, and its logits are here

_one_capture = threading.Lock()


class StaticDecoder:
    """For a dense Qwen3-VL that lies on one device as it was saved (see `decoding.py`).

    How many keys a step looks at follows from the number of tokens alone, never from what was asked
    before: so the same step is computed after a hit and after a miss. `kernels`: our own instead of
    plain torch. On a CPU it works without graphs, for tests.
    """

    def __init__(self, model: Any, *, kernels: bool) -> None:
        text = model.model.language_model
        config = text.config
        self._shape = Shape(
            config.num_attention_heads,
            config.num_key_value_heads,
            text.layers[0].self_attn.head_dim,
            config.rms_norm_eps,
        )
        self._weights = [take_weights(layer) for layer in text.layers]
        self._embedding = text.embed_tokens.weight.data
        self._last_norm = text.norm.weight.data
        self._head = model.lm_head.weight.data
        self._rotary = text.rotary_emb
        self._kernels = kernels
        device = self._embedding.device
        self._token = torch.zeros(1, dtype=torch.long, device=device)
        self._place = torch.zeros(1, dtype=torch.long, device=device)  # in the buffer
        self._position = torch.zeros(3, 1, 1, dtype=torch.long, device=device)
        self._length = 0  # `place`, as the host knows it
        self._buffer: torch.Tensor | None = None  # [layers, 2, tokens, kv heads, width]
        self._graphs: dict[int, _Graph] = {}

    def start(self, cache: Cache, length: int, position: int) -> Launch:
        self._length = 0  # what the buffer holds is of no use
        buffer = self._room(length + 1)
        for layer, (keys, values) in zip(cache.layers, buffer, strict=True):
            keys[:length].copy_(layer.keys[0].transpose(0, 1))
            values[:length].copy_(layer.values[0].transpose(0, 1))
        self._length = length
        self._place.fill_(length)
        self._position.fill_(position)
        return self._launch

    def release(self) -> None:
        self._graphs.clear()
        self._buffer = None
        self._length = 0

    def _launch(self, token: int) -> Callable[[], torch.Tensor]:
        tokens = _looked_at(self._length + 1)
        buffer = self._room(tokens)
        if self._kernels:  # which look at as many keys as there are: one graph does for all
            tokens = buffer.shape[2]
        if tokens not in self._graphs:
            self._graphs[tokens] = self._captured(tokens)
        run, found = self._graphs[tokens]
        self._token.fill_(token)
        run()
        self._length += 1
        logits = found.clone()  # the next step writes there
        return lambda: logits

    def _room(self, tokens: int) -> torch.Tensor:
        """A buffer of at least so many tokens, with what was in the old one. Zeros behind it: what
        is hidden is multiplied by nought, which only a finite number survives."""
        old = self._buffer
        if old is None or old.shape[2] < tokens:
            self._graphs.clear()  # they know the old buffer's address
            self._buffer = self._embedding.new_zeros(
                len(self._weights), 2, _looked_at(tokens), self._shape.kv_heads, self._shape.width
            )
            if old is not None:
                self._buffer[:, :, : self._length] = old[:, :, : self._length]
            return self._buffer
        return old

    def _captured(self, tokens: int) -> _Graph:
        """A graph that does a step over so many keys; on a CPU, the step itself."""
        if not self._token.is_cuda:
            logits = self._embedding.new_empty(self._head.shape[0])

            def run() -> None:
                logits.copy_(self._step(tokens))

            return run, logits
        with _one_capture:
            return self._captured_on(_side_stream(self._token.device), tokens)

    def _captured_on(self, stream: torch.cuda.Stream, tokens: int) -> _Graph:
        state = [self._token, self._place, self._position]
        before = [tensor.clone() for tensor in state]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # builds kernels, lets libraries take their workspaces
            self._step(tokens)
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            logits = self._step(tokens)
        return graph.replay, logits

    def _step(self, tokens: int) -> torch.Tensor:
        """Logits [vocabulary] behind the token; its keys and values are then in the buffer."""
        x = F.embedding(self._token, self._embedding)
        cosine, sine = (part.view(-1) for part in self._rotary(x[None], self._position))
        if self._kernels:
            logits = self._by_kernels(x[0], (cosine, sine))
        else:
            logits = self._by_torch(x, (cosine, sine), tokens)
        self._place += 1
        self._position += 1
        return logits

    def _by_torch(
        self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor], tokens: int
    ) -> torch.Tensor:
        assert self._buffer is not None
        delta = torch.zeros_like(x)
        places = torch.arange(tokens, device=x.device)
        mask = torch.where(places <= self._place, 0.0, HIDDEN).to(x.dtype)
        scale = self._shape.width**-0.5
        for weights, buffer in zip(self._weights, self._buffer, strict=True):
            x, query, new = before_attention(x, delta, weights, turn, self._shape)
            buffer.index_copy_(1, self._place, new[:, None])
            keys, values = buffer[:, :tokens]
            found, sums = attended_parts(query, keys, values, mask, scale)
            x, delta = after_attention(x, found, sums, weights, self._shape)
        return F.linear(norm(x + delta, self._last_norm, self._shape), self._head)[0]

    def _by_kernels(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        from qwen_ui.engines.decode_kernels import layer_step, normed_matmul  # needs triton

        assert self._buffer is not None
        delta = torch.zeros_like(x)
        for weights, kv in zip(self._weights, self._buffer, strict=True):
            x, delta = layer_step(x, delta, weights, turn, kv, self._place, self._shape)
        return normed_matmul(x, delta, self._last_norm, self._head, self._shape.eps)[1]


def _looked_at(tokens: int) -> int:
    """The next power of two, and not few."""
    return max(SMALLEST, 1 << (tokens - 1).bit_length())


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures: cuBLAS keeps a workspace for each stream that it ever saw."""
    return torch.cuda.Stream(device)
