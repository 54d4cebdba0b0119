"""A decode step as seven Triton kernels a layer, each of which reads its weights once.

Every kernel has one configuration and sums in one order: nothing is tuned by the clock, so a step
gives the same bits after every start. Sums are in float32. `decode_step.py` says the same in plain
torch, and test_decode_kernels.py compares the two.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from qwen_ui.engines.decode_step import LayerWeights, Shape
from qwen_ui.engines.split_attention import PARTS

# What a program takes of a matrix: its rows, and the columns that it reads at a time. The fastest
# of twelve on an H200 at the sizes of the 4B model; others sum in another order: other bits.
_NORMED = {"ROWS": 8, "COLUMNS": 256}
_PLAIN = {"ROWS": 2, "COLUMNS": 1024}
_KEY_BYTES = 128  # 64 keys of two bytes a number are read at a time
_QUERIES = 16  # the least that a matrix unit takes; those of one KV head are fewer


def layer_step(
    x: torch.Tensor,
    delta: torch.Tensor,
    weights: LayerWeights,
    turn: tuple[torch.Tensor, torch.Tensor],
    kv: torch.Tensor,
    place: torch.Tensor,
    shape: Shape,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token through a layer. `x` and `delta` [hidden] are to be added, as what is returned.

    `turn`: cosine and sine [width]; `kv` [2, tokens, kv heads, width] gets the token's keys and
    values at `place` [1].
    """
    x, qkv = normed_matmul(x, delta, weights.input_norm, weights.qkv, shape.eps)
    attended = _attended(qkv, weights, turn, kv, place, shape)
    x, gate_up = normed_matmul(
        x, _matmul(weights.output, attended), weights.attended_norm, weights.gate_up, shape.eps
    )
    return x, _matmul(weights.down, gate_up, gated=True)


def normed_matmul(
    x: torch.Tensor, delta: torch.Tensor, norm: torch.Tensor, matrix: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of `x` and `delta`, and what `matrix` makes of it once it is normed."""
    rows, columns = matrix.shape
    total, found = torch.empty_like(x), x.new_empty(rows)
    _normed_matmul[(triton.cdiv(rows, _NORMED["ROWS"]),)](
        x, delta, norm, matrix, total, found, rows, columns, eps, **_NORMED
    )
    return total, found


def _matmul(matrix: torch.Tensor, x: torch.Tensor, *, gated: bool = False) -> torch.Tensor:
    rows, columns = matrix.shape
    found = x.new_empty(rows)
    _matmul_kernel[(triton.cdiv(rows, _PLAIN["ROWS"]),)](
        x, matrix, found, rows, columns, gated, **_PLAIN
    )
    return found


def _attended(
    qkv: torch.Tensor,
    weights: LayerWeights,
    turn: tuple[torch.Tensor, torch.Tensor],
    kv: torch.Tensor,
    place: torch.Tensor,
    shape: Shape,
) -> torch.Tensor:
    heads, kv_heads, width, eps = shape
    query = qkv.new_empty(heads * width)
    _place_heads[(heads + 2 * kv_heads,)](
        qkv, weights.q_norm, weights.k_norm, *turn, query, kv, kv.stride(0), place,
        eps, heads, kv_heads, width,
    )  # fmt: skip
    sums = torch.empty(2, heads, PARTS, dtype=torch.float32, device=qkv.device)
    found = torch.empty(heads, PARTS, width, dtype=torch.float32, device=qkv.device)
    _attend[(kv_heads, PARTS)](
        query, kv, kv.stride(0), place, found, sums, width**-0.5,
        heads, kv_heads, width, PARTS, _QUERIES, _KEY_BYTES // kv.itemsize,
    )  # fmt: skip
    attended = torch.empty_like(query)
    _join[(heads,)](found, sums, attended, heads, width, PARTS)
    return attended


@triton.jit
def _normed_matmul(
    x_ptr, delta_ptr, norm_ptr, matrix_ptr, total_ptr, found_ptr, rows, columns, eps,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    squares = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, columns, COLUMNS):
        at = start + tl.arange(0, COLUMNS)
        there = at < columns
        x = tl.load(x_ptr + at, there, 0.0).to(tl.float32)
        x += tl.load(delta_ptr + at, there, 0.0).to(tl.float32)
        if tl.program_id(0) == 0:
            tl.store(total_ptr + at, x.to(total_ptr.dtype.element_ty), there)
        squares += x * x
    scale = tl.rsqrt(tl.sum(squares, 0) / columns + eps)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, columns, COLUMNS):
        at = start + tl.arange(0, COLUMNS)
        there = at < columns
        x = tl.load(x_ptr + at, there, 0.0).to(tl.float32)
        x += tl.load(delta_ptr + at, there, 0.0).to(tl.float32)
        x *= scale * tl.load(norm_ptr + at, there, 0.0).to(tl.float32)
        cells = matrix_ptr + row[:, None].to(tl.int64) * columns + at[None, :]
        inside = (row < rows)[:, None] & there[None, :]
        part = tl.load(cells, inside, 0.0, eviction_policy="evict_first").to(tl.float32)
        sums += part * x[None, :]
    tl.store(found_ptr + row, tl.sum(sums, 1).to(found_ptr.dtype.element_ty), row < rows)


@triton.jit
def _matmul_kernel(
    x_ptr, matrix_ptr, found_ptr, rows, columns,
    GATED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """GATED: `x` is a gate and what it lets through, one behind the other (SwiGLU)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, columns, COLUMNS):
        at = start + tl.arange(0, COLUMNS)
        there = at < columns
        cells = matrix_ptr + row[:, None].to(tl.int64) * columns + at[None, :]
        inside = (row < rows)[:, None] & there[None, :]
        part = tl.load(cells, inside, 0.0, eviction_policy="evict_first").to(tl.float32)
        x = tl.load(x_ptr + at, there, 0.0).to(tl.float32)
        if GATED:
            x *= tl.sigmoid(x) * tl.load(x_ptr + columns + at, there, 0.0).to(tl.float32)
        sums += part * x[None, :]
    tl.store(found_ptr + row, tl.sum(sums, 1).to(found_ptr.dtype.element_ty), row < rows)


@triton.jit
def _place_heads(
    qkv_ptr, q_norm_ptr, k_norm_ptr, cosine_ptr, sine_ptr, query_ptr, kv_ptr, kv_stride, place_ptr,
    eps, HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One head: queries and keys are normed and turned, keys and values go to their place."""
    head = tl.program_id(0)
    at = tl.arange(0, WIDTH)
    other = (at + WIDTH // 2) % WIDTH
    x = tl.load(qkv_ptr + head * WIDTH + at).to(tl.float32)
    slot = tl.load(place_ptr) * KV_HEADS * WIDTH
    if head < HEADS + KV_HEADS:
        scale = tl.rsqrt(tl.sum(x * x, 0) / WIDTH + eps)
        across = tl.load(qkv_ptr + head * WIDTH + other).to(tl.float32)
        if head < HEADS:
            x *= scale * tl.load(q_norm_ptr + at).to(tl.float32)
            across *= scale * tl.load(q_norm_ptr + other).to(tl.float32)
        else:
            x *= scale * tl.load(k_norm_ptr + at).to(tl.float32)
            across *= scale * tl.load(k_norm_ptr + other).to(tl.float32)
        across = tl.where(at < WIDTH // 2, -across, across)
        x = x * tl.load(cosine_ptr + at).to(tl.float32)
        x += across * tl.load(sine_ptr + at).to(tl.float32)
    x = x.to(query_ptr.dtype.element_ty)
    if head < HEADS:
        tl.store(query_ptr + head * WIDTH + at, x)
    elif head < HEADS + KV_HEADS:
        tl.store(kv_ptr + slot + (head - HEADS) * WIDTH + at, x)
    else:
        tl.store(kv_ptr + kv_stride + slot + (head - HEADS - KV_HEADS) * WIDTH + at, x)


@triton.jit
def _attend(
    query_ptr, kv_ptr, kv_stride, place_ptr, found_ptr, sums_ptr, scale,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """One part of the keys for the queries of one KV head: their maximum, the sum of exponentials
    and the weighted values, to be joined. How keys are parted follows from their number alone."""
    kv_head, part = tl.program_id(0), tl.program_id(1)
    group: tl.constexpr = HEADS // KV_HEADS
    filled = tl.load(place_ptr) + 1
    length = tl.cdiv(tl.cdiv(filled, PARTS), KEYS) * KEYS
    begin = part * length
    end = tl.minimum(begin + length, filled)
    across, one = tl.arange(0, WIDTH), tl.arange(0, QUERIES)
    head = kv_head * group + one
    real = one < group
    query = tl.load(query_ptr + head[:, None] * WIDTH + across[None, :], real[:, None], 0.0)
    most = tl.full((QUERIES,), -float("inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    found = tl.zeros((QUERIES, WIDTH), tl.float32)
    for start in range(begin, end, KEYS):
        at = start + tl.arange(0, KEYS)
        there = at < end
        cells = (at[:, None] * KV_HEADS + kv_head) * WIDTH + across[None, :]
        keys = tl.load(kv_ptr + cells, there[:, None], 0.0)
        scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
        scores = tl.where(there[None, :], scores, -float("inf"))
        higher = tl.maximum(most, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        before = tl.exp(most - higher)
        values = tl.load(kv_ptr + kv_stride + cells, there[:, None], 0.0)
        found = found * before[:, None]
        found += tl.dot(weights.to(values.dtype), values, input_precision="ieee")
        total = total * before + tl.sum(weights, 1)
        most = higher
    cell = head * PARTS + part
    tl.store(found_ptr + cell[:, None] * WIDTH + across[None, :], found, real[:, None])
    tl.store(sums_ptr + cell, most, real)
    tl.store(sums_ptr + HEADS * PARTS + cell, total, real)


@triton.jit
def _join(
    found_ptr, sums_ptr, attended_ptr,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """The parts of one head."""
    head = tl.program_id(0)
    part, across = tl.arange(0, PARTS), tl.arange(0, WIDTH)
    most = tl.load(sums_ptr + head * PARTS + part)
    weight = tl.exp(most - tl.max(most, 0))
    total = tl.sum(weight * tl.load(sums_ptr + (HEADS + head) * PARTS + part), 0)
    cells = (head * PARTS + part)[:, None] * WIDTH + across[None, :]
    found = tl.sum(tl.load(found_ptr + cells) * weight[:, None], 0) / total
    tl.store(attended_ptr + head * WIDTH + across, found.to(attended_ptr.dtype.element_ty))
