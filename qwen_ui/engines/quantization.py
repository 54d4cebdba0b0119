"""Weights in fewer bits than they were published in, by an optional package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qwen_ui.errors import ModelFailed

NONE = "none"
# the picture's tower is small and reads noise badly; the head may be the embedding's own tensor
_KEPT = ["lm_head", "model.visual"]


def resolve_quantization(model: str, asked: str) -> str:
    """As the identity has it: with the package's version, since its kernels decide bits.

    Raises errors.ModelFailed where the package is missing.
    """
    if asked == NONE:
        return NONE
    try:
        return f"{asked} {version('torchao')}"
    except PackageNotFoundError:
        raise ModelFailed(
            model, f"--quantization {asked} needs torchao: pip install torchao"
        ) from None


def quantization_options(quantization: str) -> dict[str, Any]:
    """What `from_pretrained` is told for a resolved quantization."""
    if quantization == NONE:
        return {}
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    config = TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=_KEPT)
    return {"quantization_config": config}
