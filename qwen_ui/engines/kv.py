"""Keys and values of a prompt: a cache that grows in place, and copies of its parts.

transformers' DynamicCache copies everything at each token. Here keys and values are written behind
the last ones, and attention reads a view of what is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from qwen_ui.engines.transfers import to_device, to_host

_ROOM = 1024  # tokens that a buffer grows by


class AppendedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values [1, heads, tokens, width], views of buffers of its own.

    The size of a buffer follows from the number of tokens in it alone, never from the steps in
    which it grew: so a kernel that looks at strides does the same after a hit as after a miss.
    """

    _key_buffer: torch.Tensor | None = None
    _value_buffer: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        self._key_buffer = _appended(self._key_buffer, key_states, start)
        self._value_buffer = _appended(self._value_buffer, value_states, start)
        end = start + key_states.shape[-2]
        self.keys = self._key_buffer[..., :end, :]
        self.values = self._value_buffer[..., :end, :]
        return self.keys, self.values


@dataclass(frozen=True, slots=True)
class Segment:
    """Keys and values of neighbouring tokens, by layer; nobody writes into them."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    @property
    def on_host(self) -> bool:
        return self.layers[0][0].device.type == "cpu"

    def to_host(self) -> Segment:
        return Segment(tuple((to_host(keys), to_host(values)) for keys, values in self.layers))


def open_cache(devices: Sequence[torch.device], segments: Sequence[Segment]) -> Cache:
    """A cache of one layer on each of `devices` (a large model spreads over several), that begins
    with a copy of these segments: they follow one another from the first token on."""
    cache = Cache(layers=[AppendedLayer() for _ in devices])
    for index, (layer, device) in enumerate(zip(cache.layers, devices, strict=True)):
        for segment in segments:
            keys, values = segment.layers[index]
            layer.update(to_device(keys, device), to_device(values, device))
    return cache


def copy_out(cache: Cache, start: int, end: int) -> Segment:
    """A copy of the tokens from `start` to `end`."""
    return Segment(
        tuple(
            (layer.keys[..., start:end, :].clone(), layer.values[..., start:end, :].clone())
            for layer in cache.layers
        )
    )


def _appended(buffer: torch.Tensor | None, states: torch.Tensor, start: int) -> torch.Tensor:
    """A buffer with `states` behind its first `start` tokens: the same one where they fit."""
    end = start + states.shape[-2]
    if buffer is None or end > buffer.shape[-2]:
        grown = states.new_empty(*states.shape[:-2], _room(end), states.shape[-1])
        if buffer is not None:
            grown[..., :start, :] = buffer[..., :start, :]
        buffer = grown
    buffer[..., start:end, :] = states
    return buffer


def _room(tokens: int) -> int:
    return -(-tokens // _ROOM) * _ROOM
