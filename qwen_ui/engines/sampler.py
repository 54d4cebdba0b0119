"""The next token: greedy, or drawn by a generator of the request's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from qwen_ui.engines.base import Sampling
from qwen_ui.engines.thought_budget import ThoughtBudget


class Sampler:
    """Deterministic: the same logits, parameters and seed give the same tokens.

    `generate()` would draw from the process-wide generator, which other requests move on.
    `suppressed` ids are never chosen: the model must not open a picture of its own. `budget` has
    the last word.
    """

    def __init__(
        self, sampling: Sampling, suppressed: Sequence[int], budget: ThoughtBudget | None = None
    ) -> None:
        self._budget = budget
        self._suppressed = torch.tensor(list(suppressed), dtype=torch.long)
        self._greedy = sampling.temperature == 0
        self._warpers = _warpers(sampling)
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """The id chosen from `logits` [vocabulary] on any device; drawing happens on the CPU."""
        wanted = self._wanted(logits)
        return wanted if self._budget is None else self._budget.next(wanted)

    def _wanted(self, logits: torch.Tensor) -> int:
        if self._suppressed.device != logits.device:
            self._suppressed = self._suppressed.to(logits.device)
        logits = logits.index_fill(0, self._suppressed, float("-inf"))
        if self._greedy:
            return int(logits.argmax())
        scores = self._warpers(None, logits.float().cpu()[None])
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self._generator))


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    """Temperature, then top-k, then top-p: the order of transformers."""
    warpers = LogitsProcessorList()
    if sampling.temperature not in (0.0, 1.0):
        warpers.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers
