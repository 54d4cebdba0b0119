"""Where a prompt is cut for prefill: always the same places, on a miss and on a hit.

The same tokens prefilled in other chunks give other bits, so a prefix that is reused must have been
computed in the very chunks of a cold run. A cut therefore depends on nothing but the tokens to its
left: the cuts of a prefix are the cuts of every longer prompt inside that prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHUNK_TOKENS = 768  # a picture of 1024 x 1024 makes 1,029 tokens: two chunks, none of them tiny
GPU_CHUNK_TOKENS = 4096  # a fraction of a second, and each chunk costs the launch of all kernels


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a chunk, counted in tokens. `inside`: it parts a picture, so nobody may begin a
    prompt of his own here."""

    end: int
    inside: bool


@dataclass(frozen=True, slots=True)
class ChunkRule:
    """Cuts behind each picture, where each answer begins, and `every` tokens after the last cut.

    `answer`: the ids that open an answer, which are the end of what a user's turn brings.
    """

    vision_start: int
    vision_end: int
    answer: tuple[int, ...]
    every: int = CHUNK_TOKENS

    def cuts(self, ids: Sequence[int]) -> list[Cut]:
        """In order; the last one is behind the last token only if the rule says so."""
        found: list[Cut] = []
        last, inside = 0, False
        for end, token in enumerate(ids, 1):
            if token == self.vision_start:
                inside = True
            elif token == self.vision_end:
                inside = False
            if end - last == self.every or token == self.vision_end or self._opens(ids, end):
                found.append(Cut(end, inside))
                last = end
        return found

    def _opens(self, ids: Sequence[int], end: int) -> bool:
        if ids[end - 1] != self.answer[-1]:
            return False
        return tuple(ids[max(0, end - len(self.answer)) : end]) == self.answer


def chunk_rule(tokenizer: Any, every: int = CHUNK_TOKENS) -> ChunkRule:
    """The rule of a model of the Qwen3-VL family, from its tokenizer."""
    return ChunkRule(
        vision_start=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        answer=tuple(tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)),
        every=every,
    )
