"""Decoding with a KV buffer that stays where it is, so that a step can be one CUDA graph.

A step of a 4B model is some hundred small kernels: launched one by one from Python, a GPU waits for
them most of the time. As a graph they are one launch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache

import torch
from torch.nn import functional as F
from transformers import Cache

from qwen_ui.engines.decode_step import TextWeights, after_attention, before_attention, norm
from qwen_ui.engines.decoder import Launch
from qwen_ui.engines.split_attention import HIDDEN, attended_parts, joined

SMALLEST = 1024  # tokens that a buffer holds
KEPT = 8192  # a larger one goes with its conversation: 1.2 GB of a 4B model

_Graph = tuple[Callable[[], None], torch.Tensor]  # run it, and its logits are here

_one_capture = threading.Lock()


class StaticDecoder:
    """For a dense Qwen3-VL that lies on one device as it was saved (see `decoding.py`).

    How many keys a step looks at follows from the number of tokens alone, never from what was asked
    before: so the same step is computed after a hit and after a miss. `kernels`: our own instead of
    plain torch. On a CPU it works without graphs, for tests.
    """

    def __init__(self, weights: TextWeights, *, kernels: bool) -> None:
        self._weights = weights
        self._shape = weights.shape
        self._kernels = kernels
        device = weights.embedding.device
        self._token = torch.zeros(1, dtype=torch.long, device=device)
        self._place = torch.zeros(1, dtype=torch.long, device=device)  # in the buffer
        self._position = torch.zeros(3, 1, 1, dtype=torch.long, device=device)
        self._length = 0  # `place`, as the host knows it
        self._buffer: torch.Tensor | None = None  # [layers, 2, tokens, kv heads, width]
        self._graphs: dict[int, _Graph] = {}

    def start(self, cache: Cache, length: int, position: int) -> Launch:
        if self._buffer is not None and self._buffer.shape[2] > max(KEPT, _looked_at(length + 1)):
            self.release()
        used, self._length = self._length, 0  # what the buffer holds is of no use
        buffer = self._room(length + 1)
        buffer[:, :, length:used] = 0  # hidden, but what is not finite would show through
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
            layers, (_, kv_heads, width, _) = len(self._weights.layers), self._shape
            self._buffer = self._weights.embedding.new_zeros(
                layers, 2, _looked_at(tokens), kv_heads, width
            )
            if old is not None:
                self._buffer[:, :, : self._length] = old[:, :, : self._length]
            return self._buffer
        return old

    def _captured(self, tokens: int) -> _Graph:
        """A graph that does a step over so many keys; on a CPU, the step itself."""
        if not self._token.is_cuda:
            head = self._weights.head
            logits = head.new_empty(head.shape[0])

            def run() -> None:
                logits.copy_(self._step(tokens))

            return run, logits
        with _one_capture:
            return self._captured_on(_side_stream(self._token.device), tokens)

    def _captured_on(self, stream: torch.cuda.Stream, tokens: int) -> _Graph:
        state = [self._token, self._place, self._position]
        before = [tensor.clone() for tensor in state]
        current = torch.cuda.current_stream(self._token.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):  # builds kernels, lets libraries take their workspaces
            self._step(tokens)
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        current.wait_stream(stream)
        torch.cuda.synchronize(self._token.device)  # as `graph` does for the first GPU
        graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            logits = self._step(tokens)
        return graph.replay, logits

    def _step(self, tokens: int) -> torch.Tensor:
        """Logits [vocabulary] behind the token; its keys and values are then in the buffer."""
        x = F.embedding(self._token, self._weights.embedding)
        cosine, sine = self._weights.rotary(x[None], self._position)
        if self._kernels:
            logits = self._by_kernels(x[0], (cosine.view(-1), sine.view(-1)))
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
        kv_heads, width = self._shape.kv_heads, self._shape.width
        for weights, buffer in zip(self._weights.layers, self._buffer, strict=True):
            x, query, key, value = before_attention(x, delta, weights, turn, self._shape)
            buffer.index_copy_(1, self._place, torch.stack((key, value)))
            keys, values = buffer[:, :tokens]
            query = query.view(kv_heads, -1, width)
            attended = joined(*attended_parts(query, keys, values, mask, width**-0.5))
            attended = attended.to(x.dtype).view(1, -1)
            x, delta = after_attention(x, attended, weights, self._shape)
        last: torch.Tensor = norm(x + delta, self._weights.last_norm, self._shape)
        return F.linear(last, self._weights.head)[0]

    def _by_kernels(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        from qwen_ui.engines.decode_kernels import layer_step, normed_matmul  # needs triton

        assert self._buffer is not None
        delta = torch.zeros_like(x)
        weights = self._weights
        for layer, kv in zip(weights.layers, self._buffer, strict=True):
            x, delta = layer_step(x, delta, layer, turn, kv, self._place, self._shape)
        return normed_matmul(x, delta, weights.last_norm, weights.head, self._shape.eps)[1]


def _looked_at(tokens: int) -> int:
    """The next power of two, and not few."""
    return max(SMALLEST, 1 << (tokens - 1).bit_length())


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures: cuBLAS keeps a workspace for each stream that it ever saw."""
    return torch.cuda.Stream(device)
