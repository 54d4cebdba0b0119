"""One token through one decoder layer of Qwen3-VL, for a static KV buffer.

The same mathematics as transformers' Qwen3VLTextDecoderLayer (test_static_decoder.py compares the
two), in two halves around the attention. Each leaves its last addition to the next one, where it
goes with a norm (decode_kernels.py does the same in few kernels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from qwen_ui.engines.split_attention import joined


class Shape(NamedTuple):
    """What all layers have in common."""

    heads: int
    kv_heads: int
    width: int  # of a head
    eps: float  # of the norms


class LayerWeights(NamedTuple):
    """Of one layer. Matrices that read the same input are one: fewer, larger reads."""

    input_norm: torch.Tensor
    qkv: torch.Tensor
    q_norm: torch.Tensor
    k_norm: torch.Tensor
    output: torch.Tensor
    attended_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


def take_weights(layer: Any) -> LayerWeights:
    """The weights of a Qwen3VLTextDecoderLayer, which from now on has views of the joined ones."""
    attention, mlp = layer.self_attn, layer.mlp
    return LayerWeights(
        layer.input_layernorm.weight.data,
        _join([attention.q_proj, attention.k_proj, attention.v_proj]),
        attention.q_norm.weight.data,
        attention.k_norm.weight.data,
        attention.o_proj.weight.data,
        layer.post_attention_layernorm.weight.data,
        _join([mlp.gate_proj, mlp.up_proj]),
        mlp.down_proj.weight.data,
    )


def before_attention(
    x: torch.Tensor,
    delta: torch.Tensor,
    weights: LayerWeights,
    turn: tuple[torch.Tensor, torch.Tensor],
    shape: Shape,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`x` and `delta` [1, hidden] are to be added; `turn`: cosine and sine [width] of the place.

    Returns the sum, the query [kv heads, group, width], key and value [2, kv heads, width].
    """
    x = x + delta
    found = F.linear(norm(x, weights.input_norm, shape), weights.qkv)
    parts = found.view(-1, shape.width)
    query, key, value = parts.split([shape.heads, shape.kv_heads, shape.kv_heads])
    query = _turned(norm(query, weights.q_norm, shape), turn)
    key = _turned(norm(key, weights.k_norm, shape), turn)
    return x, query.view(shape.kv_heads, -1, shape.width), torch.stack((key, value))


def after_attention(
    x: torch.Tensor,
    found: torch.Tensor,
    sums: torch.Tensor,
    weights: LayerWeights,
    shape: Shape,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`found` and `sums` as `attended_parts` gives them. Returns what is to be added, in two."""
    attended = joined(found, sums).to(x.dtype).view(1, -1)
    x = x + F.linear(attended, weights.output)
    gate_up = F.linear(norm(x, weights.attended_norm, shape), weights.gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return x, F.linear(F.silu(gate) * up, weights.down)


def norm(x: torch.Tensor, weight: torch.Tensor, shape: Shape) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, shape.eps)


def _turned(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary embedding; the two halves of a head turn together."""
    cosine, sine = turn
    left, right = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-right, left), dim=-1) * sine


def _join(linears: Sequence[Any]) -> torch.Tensor:
    """One matrix in place of several: the old ones become views of its rows."""
    whole = torch.cat([linear.weight.data for linear in linears])
    rows = whole.split([linear.weight.shape[0] for linear in linears])
    for linear, part in zip(linears, rows, strict=True):
        linear.weight.data = part
    return whole
