"""Helpers of the vision tower in training alone: they are thrown away at export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qwen_ui.demo_model.targets import COLOUR_NAMES, KINDS, NOTHING, Targets
from qwen_ui.demo_model.words import COLOUR_ZH, SHAPE_ZH


def _word_ids(tokenizer: Any) -> list[tuple[str, list[int]]]:
    """For kinds, colours, rows and columns, the tokens that name them in either language."""

    def one(text: str) -> int:
        ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids[0]

    return [
        ("kind", [one(k if k.isdigit() else f" {k}") for k in KINDS]),
        ("kind", [one(k if k.isdigit() else SHAPE_ZH[k]) for k in KINDS]),
        ("colour", [one(f" {c}") for c in COLOUR_NAMES]),
        ("colour", [one(COLOUR_ZH[c]) for c in COLOUR_NAMES]),
        ("row", [one(word) for word in (" top", " center", " bottom")]),
        ("row", [one(word) for word in "上中下"]),
        ("column", [one(word) for word in (" left", " center", " right")]),
        ("column", [one(word) for word in "左中右"]),
    ]


class Heads(nn.Module):
    """Reads things off the merged tokens (`cells`) and the patches below them.

    A cell that holds a thing's centre must also be near the embeddings of its words: the picture
    then speaks the language model's own vocabulary before the language model has learnt to look.
    """

    def __init__(self, vision: int, text: int, tokenizer: Any) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text, elementwise_affine=False)
        self.patch_norm = nn.LayerNorm(vision)
        self.kind = nn.Linear(text, len(KINDS))
        self.colour = nn.Linear(text, len(COLOUR_NAMES))
        self.centre = nn.Linear(text, 1)
        self.box = nn.Linear(text, 4)
        self.picture = nn.Linear(text, 4)
        self.patch_kind = nn.Linear(vision, len(KINDS) + 1)
        self.patch_colour = nn.Linear(vision, len(COLOUR_NAMES) + 1)
        self.word_ids = _word_ids(tokenizer)

    def forward(
        self, patches: Tensor, cells: Tensor, embeddings: Tensor, aims: Targets
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss and how often each target is met; `patches` [P, N, V], `cells` [P, M, T]."""
        x, y = self.norm(cells), self.patch_norm(patches)
        losses: list[Tensor] = []
        scores: dict[str, float] = {}
        here = aims.centre > 0

        def classify(name: str, logits: Tensor, wanted: Tensor, weight: float = 1.0) -> None:
            wanted = wanted.reshape(-1)
            logits = logits.reshape(len(wanted), -1).float()
            known = wanted != NOTHING
            if bool(known.any()):
                losses.append(weight * F.cross_entropy(logits, wanted, ignore_index=NOTHING))
                scores[name] = float((logits.argmax(-1) == wanted)[known].float().mean())

        classify("kind", self.kind(x), aims.kind)
        classify("colour", self.colour(x), aims.colour)
        classify("patch_kind", self.patch_kind(y), aims.patch_kind)
        classify("patch_colour", self.patch_colour(y), aims.patch_colour)
        classify("picture", self.picture(x.mean(1)), aims.picture, 0.5)
        thirds = (aims.box[..., :2] * 3).long().clamp(max=2)
        thirds = thirds.masked_fill(~here[..., None], NOTHING)
        wanted = {
            "kind": aims.kind, "colour": aims.colour,
            "column": thirds[..., 0], "row": thirds[..., 1],
        }  # fmt: skip
        for name, ids in self.word_ids:
            classify(f"word_{name}", x @ embeddings[ids].T, wanted[name], 0.5)
        centre = self.centre(x)[..., 0].float()
        losses.append(4 * F.binary_cross_entropy_with_logits(centre, aims.centre))
        found = (centre > 0) == here
        scores["pictures_found"] = float(found.all(-1).float().mean())
        if bool(here.any()):
            losses.append(8 * F.l1_loss(self.box(x)[here].float(), aims.box[here]))
            scores["box"] = float(losses[-1].detach()) / 8
        return torch.stack(losses).sum(), scores
