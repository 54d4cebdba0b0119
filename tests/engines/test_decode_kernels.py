"""The kernels beside plain torch: on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the package triton is not installed")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not (INTERPRETED or torch.cuda.is_available()):
    pytest.skip("no CUDA device here, and no TRITON_INTERPRET=1", allow_module_level=True)

from qwen_ui.engines.decode_kernels import layer_step, normed_matmul  # noqa: E402
from qwen_ui.engines.decode_step import (  # noqa: E402
    LayerWeights,
    Shape,
    after_attention,
    before_attention,
    norm,
    take_weights,
)
from qwen_ui.engines.decoder import ForwardDecoder  # noqa: E402
from qwen_ui.engines.split_attention import HIDDEN, PARTS, attended_parts, joined  # noqa: E402
from qwen_ui.engines.static_decoder import StaticDecoder  # noqa: E402
from tests.engines.conversations import CONVERSATIONS, by, open_engine  # noqa: E402
from tests.engines.tiny import save_tiny  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"
DTYPES = [torch.float32, torch.float16] + ([] if INTERPRETED else [torch.bfloat16])
SHAPE = Shape(heads=6, kv_heads=2, width=16, eps=1e-6)
# no multiples of what a program reads at a time; few rows, since the interpreter is slow
HIDDEN_SIZE, MLP = 42, 530
TOKENS = 64 * PARTS


def drawn(generator: torch.Generator, *size: int) -> torch.Tensor:
    noise: torch.Tensor = torch.randn(*size, generator=generator)
    return noise.div(size[-1] ** 0.5)


def weights(generator: torch.Generator) -> LayerWeights:
    heads, kv_heads, width, _ = SHAPE
    return LayerWeights(
        1 + drawn(generator, HIDDEN_SIZE),
        drawn(generator, (heads + 2 * kv_heads) * width, HIDDEN_SIZE),
        1 + drawn(generator, width),
        1 + drawn(generator, width),
        drawn(generator, HIDDEN_SIZE, heads * width),
        1 + drawn(generator, HIDDEN_SIZE),
        drawn(generator, 2 * MLP, HIDDEN_SIZE),
        drawn(generator, HIDDEN_SIZE, MLP),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("place", [0, 64, 700, TOKENS - 1])
def test_a_layer_is_that_of_plain_torch(place: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(place)
    layer = weights(generator)
    x, delta = drawn(generator, 2, HIDDEN_SIZE) * 10
    angles = torch.rand(SHAPE.width, generator=generator) * 6
    turn = angles.cos(), angles.sin()
    kv = torch.randn(2, TOKENS, SHAPE.kv_heads, SHAPE.width, generator=generator)
    kv[:, place + 1 :] = 1e4  # what an earlier answer left
    at = torch.tensor([place])

    wanted_kv = kv.clone()
    mask = torch.where(torch.arange(TOKENS) > place, HIDDEN, 0.0)
    turned = turn[0].view(1, 1, -1), turn[1].view(1, 1, -1)
    total, query, key, value = before_attention(x[None], delta[None], layer, turned, SHAPE)
    wanted_kv.index_copy_(1, at, torch.stack((key, value)))
    keys, values = wanted_kv
    query = query.view(SHAPE.kv_heads, -1, SHAPE.width)
    attended = joined(*attended_parts(query, keys, values, mask, SHAPE.width**-0.5))
    wanted = after_attention(total, attended.view(1, -1), layer, SHAPE)

    def given(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(DEVICE, dtype)

    found_kv = given(kv)
    found = layer_step(
        given(x),
        given(delta),
        LayerWeights(*map(given, layer)),
        (given(turn[0]), given(turn[1])),
        found_kv,
        at.to(DEVICE),
        SHAPE,
    )
    near = 1e-4 if dtype is torch.float32 else 3e-2
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.cpu().float(), other[0], rtol=near, atol=near)
    for one, other in zip(found_kv[:, place], wanted_kv[:, place], strict=True):
        torch.testing.assert_close(one.cpu().float(), other, rtol=near, atol=near)
    assert torch.equal(found_kv[:, place + 1 :], given(kv)[:, place + 1 :])


@pytest.mark.parametrize("rows", [1, 4, 43])
def test_a_normed_matmul_is_that_of_plain_torch(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, delta, scale = drawn(generator, 3, HIDDEN_SIZE)
    matrix = drawn(generator, rows, HIDDEN_SIZE)
    total, found = normed_matmul(
        x.to(DEVICE), delta.to(DEVICE), scale.to(DEVICE), matrix.to(DEVICE), SHAPE.eps
    )
    torch.testing.assert_close(total.cpu(), x + delta)
    torch.testing.assert_close(
        found.cpu(), matrix @ norm(x + delta, scale, SHAPE), rtol=1e-4, atol=1e-4
    )


def test_a_whole_step_is_that_of_the_models_own_forward(tmp_path: Path) -> None:
    device = "cpu" if INTERPRETED else "cuda:0"
    engine = open_engine(save_tiny(tmp_path), "float32", device=device, decoding="eager")
    model, messages = engine._machine.model, CONVERSATIONS["text"]
    wanted = by(engine, ForwardDecoder(model), messages)
    found = by(engine, StaticDecoder(take_weights(model), kernels=True), messages)
    engine.close()
    assert found.ids == wanted.ids
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-3, atol=1e-3)
