"""One row of a training batch, token by token as the chat templates would make it.

A row is a shared prefix (usually one picture) and blocks that see the prefix and themselves, but
not each other: several questions cost one encoding of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qwen_ui.demo_model.questions import Question
from qwen_ui.demo_model.scenes import Scene
from qwen_ui.demo_model.thoughts import thought


@dataclass
class Row:
    ids: list[int] = field(default_factory=list)
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    next: int = 0  # the next position
    block: int = 0

    def text(self, ids: list[int], weights: list[float] | None = None, asked: int = -1) -> None:
        self.ids += ids
        self.positions += [(p, p, p) for p in range(self.next, self.next + len(ids))]
        self.weights += weights or [0.0] * len(ids)
        self.blocks += [self.block] * len(ids)
        self.asked += [asked] * len(ids)
        self.next += len(ids)

    def picture(self, pad: int, rows: int, columns: int) -> None:
        cells = [
            (self.next, self.next + r, self.next + c) for r in range(rows) for c in range(columns)
        ]
        self.ids += [pad] * len(cells)
        self.positions += cells
        self.weights += [0.0] * len(cells)
        self.blocks += [self.block] * len(cells)
        self.asked += [-1] * len(cells)
        self.next += max(rows, columns)


class Writer:
    """Turns questions into the token rows that the chat templates would make of them."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._user = self.encode("<|im_start|>user\n")
        self._assistant = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self._think = self.encode("<think>\n")
        self._end = self.encode("<|im_end|>")
        self._next = self.encode("\n<|im_start|>user\n")
        self._digits = {i for digit in "0123456789" for i in self.encode(digit)}
        self._open, self._close = self.encode("<|vision_start|>"), self.encode("<|vision_end|>")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def picture(self, row: Row, grid: tuple[int, int]) -> None:
        row.text(self._open)
        row.picture(self._pad, *grid)
        row.text(self._close)

    def user(self, row: Row, system: str = "") -> None:
        if system:
            row.text(self.encode(f"<|im_start|>system\n{system}<|im_end|>\n"))
        row.text(self._user)

    def turn(
        self, question: Question, scene: Scene | None, thinking: bool
    ) -> list[tuple[list[int], bool]]:
        """The rest of a turn after the pictures; True marks what the model is to write."""
        prompt = self.encode(question.text) + self._assistant
        if not thinking:
            return [(prompt, False), (self.encode(question.short) + self._end, True)]
        text = f"{thought(scene, question)}\n</think>\n\n"
        answer = self.encode(text) + self.encode(question.full) + self._end
        return [(prompt + self._think, False), (answer, True)]

    def weights(self, ids: list[int], boxes: bool) -> list[float]:
        """Of a written piece's tokens. In a list of boxes the digits are what is to be learnt."""
        if not boxes:
            return [len(ids) ** -0.5] * len(ids)
        return [0.4 if i in self._digits else 0.04 for i in ids]

    def history(self, question: Question, thinking: bool) -> list[int]:
        """A past turn as the template writes it: thoughts are gone."""
        answer = question.full if thinking else question.short
        return self.encode(question.text) + self._assistant + self.encode(answer) + self._end

    def next_turn(self) -> list[int]:
        return self._next
