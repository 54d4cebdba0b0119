"""AdamW, and the running mean of the weights that is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Optimizer:
    """`vision` scales the rate of the vision tower and its heads, so that a language model that
    knows nothing yet does not undo what the tower has learnt."""

    def __init__(self, learner: nn.Module, vision: float = 1.0) -> None:
        groups: dict[float, list[nn.Parameter]] = {vision: [], 1.0: []}
        for name, parameter in learner.named_parameters():
            seeing = ".visual." in name or name.startswith("heads.")
            groups[vision if seeing else 1.0].append(parameter)
        self._parameters = list(learner.parameters())
        self._adam = torch.optim.AdamW(
            [{"params": p, "scale": scale} for scale, p in groups.items() if p],
            betas=(0.9, 0.98), weight_decay=0.01, fused=True,
        )  # fmt: skip

    def step(self, lr: float) -> None:
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._adam.param_groups:
            group["lr"] = lr * group["scale"]
        self._adam.step()
        self._adam.zero_grad()


class Average:
    """A running mean of the weights: better than the last ones, and ready at any time."""

    def __init__(self, model: nn.Module, decay: float = 0.998) -> None:
        self._decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self._decay, (step + 1) / (step + 10))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        return self.weights
