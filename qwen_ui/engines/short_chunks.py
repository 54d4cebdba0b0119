"""A short chunk of text through the text layers, in a third of the operations of transformers' own
forward: on a GPU their launches are all that the first token of an answer waits for."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import Cache

from qwen_ui.engines.decode_step import TextWeights, after_attention, before_attention, norm
from qwen_ui.engines.interrupt import Stopped, StopSign

MOST_TOKENS = 512  # a longer one keeps a GPU busy however it is launched
LARGEST_MASK = 2**22  # tokens by tokens before and in it; some groups of heads times two bytes
_ALIGNED = 16  # what attention kernels want of a mask's rows


class ShortChunks:
    """For a dense Qwen3-VL that lies on one device as it was saved (see `decoding.py`).

    Which chunks come here follows from the chunk alone, never from what is known already: so the
    same is computed after a hit and after a miss.
    """

    def __init__(self, weights: TextWeights) -> None:
        self._weights = weights

    def take(self, start: int, end: int) -> bool:
        """Whether text between these places of a prompt is a short chunk."""
        tokens = end - start
        return tokens <= MOST_TOKENS and tokens * end <= LARGEST_MASK

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, cache: Cache, stop: StopSign
    ) -> torch.Tensor:
        """What the last layer leaves of `ids` [1, tokens], normed [1, tokens, hidden]; their keys
        and values are then in the cache. `positions` [3, 1, tokens] are those of the rotary
        embedding. Raises interrupt.Stopped."""
        shape = self._weights.shape
        tokens, group = ids.shape[1], shape.heads // shape.kv_heads
        x = F.embedding(ids[0], self._weights.embedding)
        cosine, sine = self._weights.rotary(x[None], positions)
        turn = cosine[0, :, None], sine[0, :, None]
        # the queries of one KV head stand one behind the other: so keys need not be repeated
        mask = _mask(x, cache.get_seq_length()).repeat_interleave(group, 0)
        mask = mask[:, : cache.get_seq_length() + tokens]
        delta = torch.zeros_like(x)
        for weights, kept in zip(self._weights.layers, cache.layers, strict=True):
            if stop.is_set():
                raise Stopped
            x, query, key, value = before_attention(x, delta, weights, turn, shape)
            keys, values = kept.update(key.transpose(0, 1)[None], value.transpose(0, 1)[None])
            query = query.view(tokens, shape.kv_heads, -1).transpose(0, 1)
            attended = F.scaled_dot_product_attention(
                query.reshape(1, shape.kv_heads, tokens * group, shape.width), keys, values, mask
            )
            attended = attended[0].view(shape.kv_heads, tokens, group, -1).transpose(0, 1)
            x, delta = after_attention(x, attended.reshape(tokens, -1), weights, shape)
        return norm(x + delta, self._weights.last_norm, shape)[None]


def _mask(x: torch.Tensor, start: int) -> torch.Tensor:
    """What is added to the scores of tokens that begin at `start`; its rows are aligned."""
    tokens = len(x)
    room = -(-(start + tokens) // _ALIGNED) * _ALIGNED
    return x.new_full((tokens, room), -torch.inf).triu(start + 1)
