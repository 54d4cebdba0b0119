"""Tokens through one decoder layer of Qwen3-VL, in a third of the operations of transformers' own.

The same mathematics as its Qwen3VLTextDecoderLayer (test_static_decoder.py and test_short_chunks.py
compare the two), in two halves around the attention. Each leaves its last addition to the next one,
where it goes with a norm (decode_kernels.py does the same in few kernels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F


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


class TextWeights(NamedTuple):
    """Of all text layers and what is around them; they lie on one device."""

    shape: Shape
    layers: tuple[LayerWeights, ...]
    embedding: torch.Tensor  # [vocabulary, hidden]
    last_norm: torch.Tensor
    head: torch.Tensor  # [vocabulary, hidden]
    rotary: Any  # transformers' own module


def take_weights(model: Any) -> TextWeights:
    """The weights of a dense Qwen3-VL, which from now on has views of the joined ones."""
    text = model.model.language_model
    config = text.config
    shape = Shape(
        config.num_attention_heads,
        config.num_key_value_heads,
        text.layers[0].self_attn.head_dim,
        config.rms_norm_eps,
    )
    return TextWeights(
        shape,
        tuple(_of_layer(layer) for layer in text.layers),
        text.embed_tokens.weight.data,
        text.norm.weight.data,
        model.lm_head.weight.data,
        text.rotary_emb,
    )


def _of_layer(layer: Any) -> LayerWeights:
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
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`x` and `delta` [tokens, hidden] are to be added; `turn`: cosine and sine [tokens, 1, width].

    Returns the sum, the query [tokens, heads, width], key and value [tokens, kv heads, width].
    """
    x = x + delta
    found = F.linear(norm(x, weights.input_norm, shape), weights.qkv)
    parts = found.view(len(x), -1, shape.width)
    query, key, value = parts.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
    both = norm(query, weights.q_norm, shape), norm(key, weights.k_norm, shape)
    query, key = _turned(torch.cat(both, 1), turn).split([shape.heads, shape.kv_heads], 1)
    return x, query, key, value


def after_attention(
    x: torch.Tensor, attended: torch.Tensor, weights: LayerWeights, shape: Shape
) -> tuple[torch.Tensor, torch.Tensor]:
    """`attended` [tokens, heads * width]. Returns what is to be added, in two."""
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
    return torch.addcmul(x * cosine, torch.cat((-right, left), dim=-1), sine)


def _join(linears: Sequence[Any]) -> torch.Tensor:
    """One matrix in place of several: the old ones become views of its rows."""
    whole = torch.cat([linear.weight.data for linear in linears])
    rows = whole.split([linear.weight.shape[0] for linear in linears])
    for linear, part in zip(linears, rows, strict=True):
        linear.weight.data = part
    return whole
