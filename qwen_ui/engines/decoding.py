"""How tokens are decoded: decided before loading, from files and the machine.

`eager`: the model's own forward, a kernel at a time. `graph`: a step is one CUDA graph.
`triton`: a graph of kernels of our own. With the last two, short chunks of a prompt are computed by
operations of our own as well.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from typing import Any

import torch

from qwen_ui.engines.decode_step import take_weights
from qwen_ui.engines.decoder import Decoder, ForwardDecoder
from qwen_ui.engines.quantization import FULL
from qwen_ui.engines.short_chunks import ShortChunks
from qwen_ui.engines.static_decoder import StaticDecoder
from qwen_ui.errors import ModelFailed

log = logging.getLogger(__name__)

EAGER = "eager"
GRAPH = "graph"
TRITON = "triton"

# Raised with every change of what our own operations compute: decode_step, decode_kernels,
# static_decoder, split_attention, short_chunks.
_STEP = 2


def resolve_decoding(
    model: str, asked: str, config: dict[str, Any], device: str, quantization: str
) -> str:
    """As the identity has it. `auto` is the fastest that works here. Raises errors.ModelFailed for
    one that was asked for and cannot be."""
    no_graph = _no_graph(config, device, quantization)
    no_kernels = _no_kernels(config)
    if asked == "auto":
        found = EAGER if no_graph else GRAPH if no_kernels else TRITON
        if device.startswith("cuda") and found != TRITON:
            log.info("%s decodes in the %s way: %s", model, found, no_graph or no_kernels)
    else:
        found = asked
        reason = no_graph or (no_kernels if asked == TRITON else "")
        if asked != EAGER and reason:
            raise ModelFailed(model, f"--decoding {asked} cannot be had: {reason}")
    if found == EAGER:
        return found
    return f"{found} {_STEP}, {_triton()}" if found == TRITON else f"{found} {_STEP}"


def make_decoder(decoding: str, model: Any) -> tuple[Decoder, ShortChunks | None]:
    """For a resolved `decoding`; without the second, a prompt is computed by the model alone."""
    if decoding == EAGER:
        return ForwardDecoder(model), None
    weights = take_weights(model)
    return StaticDecoder(weights, kernels=decoding.startswith(TRITON)), ShortChunks(weights)


def _no_graph(config: dict[str, Any], device: str, quantization: str) -> str:
    """Why a step cannot be a graph of our own; empty: it can."""
    text = config["text_config"]
    if not device.startswith("cuda"):
        return "it needs a CUDA device"
    if device == "cuda" and torch.cuda.device_count() > 1:
        return "the model may lie on several GPUs; name one, such as --device cuda:0"
    if config["model_type"] != "qwen3_vl":
        return "a mixture of experts chooses its weights at each step"
    if quantization not in FULL:
        return "the weights are quantized"
    if text.get("hidden_act", "silu") != "silu" or text.get("attention_bias"):
        return "its layers are not those of a published Qwen3-VL"
    return ""


def _no_kernels(config: dict[str, Any]) -> str:
    """Why our kernels cannot be built here; empty: they can."""
    text = config["text_config"]
    heads = text["num_attention_heads"]
    width = text.get("head_dim") or text["hidden_size"] // heads
    if importlib.util.find_spec("triton") is None:
        return "our kernels need the package triton"
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        return "our kernels need a C compiler"
    if width < 16 or width & (width - 1) or heads // text["num_key_value_heads"] > 16:
        return "our kernels do not fit the sizes of its heads"
    return ""


def _triton() -> str:
    """Which version builds our kernels."""
    import triton  # a second, which only a GPU needs

    return f"triton {triton.__version__}"
