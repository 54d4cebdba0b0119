"""Attention of one token over a long buffer, in parts that a GPU works on at once.

A decode step has one query and thousands of keys: a kernel that walks them in order leaves most of
a GPU idle. So each part of the keys is attended to by itself and the results are joined by their
log-sum-exp (Flash-Decoding, https://crfm.stanford.edu/2023/10/12/flashdecoding.html).
"""

from __future__ import annotations

import torch

PARTS = 16  # with 8 KV heads, one for each processor of a large GPU; others give other bits

# added to the scores of places that are not filled; kernels multiply it, so no larger one
HIDDEN = -1e30


def attended_parts(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each part gives, and its log-sum-exp.

    query [kv heads, group, width]; keys and values [tokens, kv heads, width], finite everywhere,
    tokens a multiple of 8 * PARTS; mask [tokens], 0 or HIDDEN.
    Returns [PARTS, kv heads, group, width], and [PARTS, kv heads, group] in float32.
    """
    heads, group, width = query.shape
    length = keys.shape[0] // PARTS
    queries = query.expand(PARTS, heads, group, width)
    keys, values = (
        tensor.view(PARTS, length, heads, width).transpose(1, 2) for tensor in (keys, values)
    )
    bias = mask.view(PARTS, 1, 1, length).expand(PARTS, heads, group, length)
    if query.is_cuda:
        found, sums, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            queries, keys, values, bias, True, scale=scale
        )
        return found, sums[..., :group]  # the kernel pads its queries
    scores = queries.float() @ keys.float().transpose(2, 3) * scale + bias.float()
    found = scores.softmax(-1) @ values.float()
    return found.to(query.dtype), scores.logsumexp(-1)


def joined(found: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """[kv heads, group, width] of what `attended_parts` gives, in float32."""
    return (sums.softmax(0)[..., None] * found.float()).sum(0)
