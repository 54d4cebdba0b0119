"""The demo model's configuration: every mechanism of Qwen3-VL, a thousandth of the size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from qwen_ui.demo_model.grid import CELL, MAX_PIXELS, MERGE, MIN_PIXELS, PATCH


@dataclass(frozen=True)
class Size:
    vision: int = 128
    vision_layers: int = 4
    text: int = 192
    text_layers: int = 4
    mlp: int = 512


def _vision(size: Size) -> dict[str, Any]:
    return {
        "depth": size.vision_layers,
        "hidden_size": size.vision,
        "num_heads": size.vision // 32,
        "intermediate_size": size.vision * 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": size.text,
        "num_position_embeddings": 144,
        "deepstack_visual_indexes": [1, 2],
        "initializer_range": 0.03,
    }


def _text(size: Size, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": size.text,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.text_layers,
        "num_attention_heads": size.text // 32,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "initializer_range": 0.03,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": True,
    }


def build_model(tokenizer: Any, size: Size | None = None) -> Any:
    size = size or Size()
    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        vision_config=_vision(size),
        text_config=_text(size, tokenizer),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"
    model = Qwen3VLForConditionalGeneration(config)
    _start_vision(model.model.visual)
    return model


@torch.no_grad()
def _start_vision(visual: Any) -> None:
    """Starts that a small tower needs: places that can be told apart from the first step on
    (sines and cosines of row and column), and branches that are loud enough to be heard."""
    side = visual.num_grid_per_side
    quarter = visual.pos_embed.weight.shape[1] // 4
    angles = torch.arange(side)[:, None] / side * torch.logspace(0, 1.2, quarter)[None] * math.pi
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    visual.pos_embed.weight.copy_(torch.cat([rows, columns], -1).reshape(side * side, -1) * 0.7)
    for name, weight in visual.named_parameters():
        if weight.ndim == 2 and "pos_embed" not in name:
            weight.normal_(std=0.7 * weight.shape[1] ** -0.5)


def image_processor() -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip


def patches_of(pixels: torch.Tensor) -> torch.Tensor:
    """What the processor makes of pictures [P, H, W, 3] of bytes that have their final size."""
    p, h, w, _ = pixels.shape
    x = (pixels.to(torch.float32) / 255 - 0.5) / 0.5
    x = x.permute(0, 3, 1, 2)
    x = x.reshape(p, 3, h // CELL, MERGE, PATCH, w // CELL, MERGE, PATCH)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # picture, cell row, cell column, patch row, column
    x = x.reshape(p, -1, 3, 1, PATCH, PATCH).expand(-1, -1, -1, 2, -1, -1)
    return x.reshape(-1, 3 * 2 * PATCH * PATCH)
