"""A sentence encoder that finds and orders what is suggested; it never decides what is served.

The package `wordllama` (the extra `similar`) carries its weights in its wheel: one vector a token,
and a sentence is the mean of its tokens. Only its files are read, so nothing is ever downloaded,
and loading takes 0.1 s and 35 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]  # [DIMENSIONS], of length 1 or, for an empty text, 0
Encoder = Callable[[str], Vector]

# the model was trained so that its first 64 of 256 dimensions do alone; measured, they do here
DIMENSIONS = 64
_PACKAGE = "wordllama"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENS = "tokenizers/l2_supercat_tokenizer_config.json"


def load() -> Encoder | None:
    """The encoder, or None where the extra is not installed."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return _read(Path(spec.submodule_search_locations[0]))


def _read(folder: Path) -> Encoder | None:
    """None where the files are not those of the version that was tried."""
    if not all((folder / name).is_file() for name in (_WEIGHTS, _TOKENS)):
        return None
    from safetensors import safe_open
    from tokenizers import Tokenizer

    with safe_open(folder / _WEIGHTS, framework="numpy") as weights:
        table = weights.get_slice("embedding.weight")[:, :DIMENSIONS].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / _TOKENS))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def encode(text: str) -> Vector:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        total = table[tokens].sum(axis=0)
        vector: Vector = total / max(float(np.linalg.norm(total)), 1e-6)
        return vector

    return encode
