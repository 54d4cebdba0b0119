"""Weights in fewer bits: by an optional package, or because they were published so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from qwen_ui.engines.packages import installed
from qwen_ui.errors import ModelFailed

log = logging.getLogger(__name__)

NONE = "none"
UNPACKED = "fp8, unpacked"  # published in FP8, and loaded in the type that it computes in
FULL = (NONE, UNPACKED)  # ordinary matrices once they are loaded
# the picture's tower is small and reads noise badly; the head may be the embedding's own tensor
_KEPT = ["lm_head", "model.visual"]
_OTHERS = ("autoawq", "bitsandbytes", "compressed-tensors", "gptqmodel", "kernels", "torchao")
_COMPUTES_IN_FP8 = (8, 9)  # the first GPUs that do, by transformers' FineGrainedFP8HfQuantizer


def resolve_quantization(model: str, asked: str, config: Mapping[str, Any], device: str) -> str:
    """As the identity has it: with the package's version, since its kernels decide bits.

    Raises errors.ModelFailed where the package is missing, or the weights are quantized already.
    """
    published = config.get("quantization_config")
    if published is not None:
        method = str(published.get("quant_method", "unknown"))
        if asked != NONE:
            raise ModelFailed(
                model, f"its weights are quantized already ({method}); leave out --quantization"
            )
        return _fp8(model, device) if method == "fp8" else _by_others(method)
    if asked == NONE:
        return NONE
    found = installed("torchao")
    if found is None:
        raise ModelFailed(model, f"--quantization {asked} needs torchao: pip install torchao")
    return f"{asked} {found}"


def quantization_options(quantization: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `from_pretrained` is told for a resolved quantization of a model with this config."""
    if quantization == UNPACKED:
        from transformers import FineGrainedFP8Config

        unpacked = FineGrainedFP8Config(
            modules_to_not_convert=config["quantization_config"].get("modules_to_not_convert"),
            dequantize=True,
        )
        return {"quantization_config": unpacked}
    if not quantization.startswith("torchao"):
        return {}
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    chosen = TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=_KEPT)
    return {"quantization_config": chosen}


def computes_in_fp8(device: str) -> bool:
    """Whether it does so where the package `kernels`, which fetches what it runs, is installed."""
    if not device.startswith("cuda"):
        return False
    import torch  # what only asks for a model's memory does without its seconds

    return torch.cuda.get_device_capability(device) >= _COMPUTES_IN_FP8


def _by_others(method: str) -> str:
    """With every package that may compute for it."""
    versions = {package: installed(package) for package in _OTHERS}
    return ", ".join([method, *(f"{name} {found}" for name, found in versions.items() if found)])


def _fp8(model: str, device: str) -> str:
    if not computes_in_fp8(device):
        return UNPACKED
    found = installed("kernels")
    if found is None:
        log.info("%s is unpacked to twice the memory; pip install kernels keeps it in FP8", model)
        return UNPACKED
    return f"fp8, kernels {found}"
