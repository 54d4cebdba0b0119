"""One training step: the model's own layers, called so that a CPU keeps up."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from qwen_ui.demo_model.architecture import patches_of
from qwen_ui.demo_model.batches import Batch
from qwen_ui.demo_model.grid import CELL
from qwen_ui.demo_model.heads import Heads
from qwen_ui.demo_model.questions import KINDS


def _one_size_attention(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: Any, **_: Any
) -> Tensor:
    """The vision attention when all pictures have one size: a batch instead of a loop."""
    pictures = len(cu_seqlens) - 1
    n, dim = hidden_states.shape
    q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).unbind(1)
    q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (
        t.reshape(pictures, -1, self.num_heads, self.head_dim).transpose(1, 2) for t in (q, k, v)
    )
    weights = (q @ k.transpose(2, 3) * self.scaling).softmax(-1, dtype=torch.float32).to(q.dtype)
    mixed = (weights @ v).transpose(1, 2).reshape(n, dim)
    out: Tensor = self.proj(mixed)
    return out


def _lean_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **_: Any
) -> tuple[Tensor, None]:
    """Eager attention with fewer passes over the weights than transformers' own."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    weights = (query * module.scaling) @ key.transpose(2, 3) + attention_mask
    return (weights.softmax(-1) @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register("lean", _lean_attention)


class Learner(nn.Module):
    def __init__(self, model: Any, heads: Heads) -> None:
        super().__init__()
        self.model, self.heads = model, heads

    def lean(self, on: bool) -> None:
        """Swap both attentions for those of this module, or back."""
        self.model.model.language_model.config._attn_implementation = "lean" if on else "eager"
        for block in self.model.model.visual.blocks:
            if on:
                block.attn.forward = types.MethodType(_one_size_attention, block.attn)
            else:
                block.attn.__dict__.pop("forward", None)

    def compile_text(self) -> None:
        """Fuse the text layers' small operations: needs a C++ compiler, saves a sixth."""
        for layer in self.model.model.language_model.layers:
            layer.compile()

    def forward(self, batch: Batch, auxiliary: float) -> tuple[Tensor, dict[str, float]]:
        pictures, height, width, _ = batch.pixels.shape
        grid = torch.tensor([[1, height // CELL * 2, width // CELL * 2]]).expand(pictures, -1)
        seen = self.model.model.visual(patches_of(batch.pixels), grid_thw=grid)
        scores: dict[str, float] = {}
        loss = torch.zeros(())
        embeddings = self.model.get_input_embeddings().weight
        if auxiliary:
            patches = seen.last_hidden_state.reshape(pictures, -1, seen.last_hidden_state.shape[-1])
            cells = seen.pooler_output.reshape(pictures, -1, seen.pooler_output.shape[-1])
            loss, scores = self.heads(patches, cells, embeddings, batch.targets)
            loss = auxiliary * loss
        if batch.ids.numel():
            text = self._text_loss(batch, seen, embeddings, scores)
            scores["text"] = float(text.detach())
            loss = loss + text
        return loss, scores

    def _text_loss(
        self, batch: Batch, seen: Any, embeddings: Tensor, scores: dict[str, float]
    ) -> Tensor:
        x = F.embedding(batch.ids, embeddings)
        picture = batch.ids == self.model.config.image_token_id
        x = x.masked_scatter(picture[..., None], seen.pooler_output.to(x.dtype))
        out = self.model.model.language_model(
            inputs_embeds=x,
            position_ids=batch.positions,
            attention_mask=_mask(batch.blocks),
            visual_pos_masks=picture,
            deepstack_visual_embeds=seen.deepstack_features,
            use_cache=False,
        ).last_hidden_state
        weights = batch.weights[:, 1:]
        wanted = weights > 0
        logits = out[:, :-1][wanted] @ embeddings.T
        right = (logits.argmax(-1) == batch.ids[:, 1:][wanted]).float()
        asked = batch.asked[:, 1:][wanted]
        for i in asked.unique().tolist():
            if i >= 0:
                scores[f":{KINDS[i]}"] = float(right[asked == i].mean())
        losses = F.cross_entropy(logits.float(), batch.ids[:, 1:][wanted], reduction="none")
        return (losses * weights[wanted]).sum() / weights.sum()


def _mask(blocks: Tensor) -> Tensor:
    """Additive [B, 1, L, L]: a token sees the prefix (block 0) and its own block, backwards."""
    length = blocks.shape[1]
    same = (blocks[:, :, None] == blocks[:, None, :]) | (blocks[:, None, :] == 0)
    backwards = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (same & backwards) | torch.eye(length, dtype=torch.bool)
    return torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None]
