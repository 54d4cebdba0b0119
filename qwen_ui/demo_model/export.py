"""Writes a complete Hugging Face folder, as a published Qwen3-VL has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from qwen_ui.demo_model.architecture import image_processor

TEMPLATES = Path(__file__).parent / "templates"
# Instruct answers greedily. Thinking samples, but cooler than the published 1.0: a model this
# small is unsure of more, and what it draws by chance it then believes.
SAMPLING: dict[str, dict[str, Any]] = {
    "demo": {"do_sample": False},
    "demo-thinking": {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20},
}


def export(
    model: Any, weights: Mapping[str, Tensor], tokenizer: Any, variant: str, folder: Path
) -> None:
    """`model` is the shape to fill; its own weights are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    shell = Qwen3VLForConditionalGeneration(model.config)
    shell.load_state_dict(weights)
    shell.to(torch.bfloat16)
    shell.config._attn_implementation = "sdpa"
    shell.generation_config = GenerationConfig(
        bos_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        **SAMPLING[variant],
    )
    shell.save_pretrained(folder)
    template = (TEMPLATES / f"{variant}.jinja").read_text(encoding="utf8")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    image_processor().save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
