"""One token after another behind a prompt: what every decoder does, and the one that always works.

Which one an engine has is decided in `decoding.py`, before loading, and is part of its identity:
two decoders give the same tokens nearly always and the same bits hardly ever.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import torch
from transformers import Cache

# Takes a token and begins to compute what follows it; the logits [vocabulary] are there when they
# are called for. Where a GPU computes them, the caller goes on meanwhile.
Launch = Callable[[int], Callable[[], torch.Tensor]]


class Decoder(Protocol):
    def start(self, cache: Cache, length: int, position: int) -> Launch:
        """Behind a prompt of `length` tokens; the first new one has this rotary position. What is
        returned serves until the next start."""
        ...

    def release(self) -> None:
        """Give back the memory that can be had again at the next start."""
        ...


class ForwardDecoder:
    """By the model's own forward, on any device and for any architecture."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def start(self, cache: Cache, length: int, position: int) -> Launch:
        """Nothing is computed before it is called for: on a CPU that would only delay a token."""
        places = [length, *[position] * 3]  # in the text, then the three of the rotary embedding
        first = torch.tensor(places, device=self._model.device).view(4, 1, 1)
        done = count()
        return lambda token: lambda: self._next(cache, token, first + next(done))

    def release(self) -> None:
        pass

    def _next(self, cache: Cache, token: int, position_ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=torch.tensor([[token]], device=self._model.device),
            position_ids=position_ids,
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
        ).logits[0, -1]
        return logits
