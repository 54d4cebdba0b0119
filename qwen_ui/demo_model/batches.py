"""Training batches: pictures of one grid, and rows of questions that share their picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from qwen_ui.demo_model.grid import CELL, grid_of
from qwen_ui.demo_model.questions import KINDS, Question, ask
from qwen_ui.demo_model.rows import Row, Writer
from qwen_ui.demo_model.scenes import Scene, number_scene, shapes_scene, strange_scene
from qwen_ui.demo_model.targets import Targets, targets
from qwen_ui.demo_model.words import Language

GRIDS = {(4, 4): 3, (4, 5): 5, (3, 6): 2, (4, 6): 2, (5, 4): 2, (6, 3): 1, (6, 4): 1, (3, 7): 0.5}
SYSTEM = ("You are a helpful assistant.", "你是一个有用的助手。", "Answer briefly.")


@dataclass(frozen=True)
class Mix:
    """What a stage shows. `objects` and `kinds` are weights; the rest are shares of 1."""

    objects: Mapping[int, float]
    kinds: Mapping[str, float]
    numbers: float = 0.15
    strange: float = 0.08
    no_picture: float = 0.05
    thinking: float = 0.3
    turns: float = 0.0  # blocks that hold several turns
    two_pictures: float = 0.0
    jpeg: float = 0.25
    drafts: int = 1  # wordings that a question's shortest is taken from
    capitals: float = 0.05
    pictures: int = 32
    length: int = 224


@dataclass
class Batch:
    pixels: torch.Tensor  # [P, H, W, 3] bytes
    ids: torch.Tensor  # [B, L]
    positions: torch.Tensor  # [3, B, L]
    weights: torch.Tensor  # [B, L] of each token as a target
    blocks: torch.Tensor  # [B, L], -1 for padding
    asked: torch.Tensor  # [B, L]: the kind of question that a plain answer's token is for, or -1
    targets: Targets


@cache
def _sizes() -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Canvas sizes by the grid that they become."""
    sizes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for width in range(176, 420, 12):
        for height in range(176, 420, 12):
            sizes.setdefault(grid_of(width, height), []).append((width, height))
    return sizes


def _weighted(rng: Random, weights: Mapping[Any, float]) -> Any:
    return rng.choices(list(weights), list(weights.values()))[0]


def _scene(mix: Mix, rng: Random, grid: tuple[int, int]) -> Scene:
    width, height = rng.choice(_sizes()[grid])
    seed, chance = rng.randrange(1 << 40), rng.random()
    if chance < mix.numbers:
        return number_scene(seed, width, height)
    if chance < mix.numbers + mix.strange:
        return strange_scene(seed, width, height)
    return shapes_scene(seed, width, height, _weighted(rng, mix.objects))


def _pixels(scene: Scene, grid: tuple[int, int], jpeg: bool, rng: Random) -> np.ndarray[Any, Any]:
    picture = scene.draw()
    if jpeg:
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=rng.randint(30, 92))
        picture = Image.open(data).convert("RGB")
    resized = picture.resize((grid[1] * CELL, grid[0] * CELL), Image.Resampling.BICUBIC)
    return np.asarray(resized)


_ROOM = 24  # tokens that a row keeps for at least one question and its answer


class RowMaker:
    def __init__(self, writer: Writer, mix: Mix, grid: tuple[int, int], rng: Random) -> None:
        self._writer, self._mix, self._grid, self._rng = writer, mix, grid, rng

    def _question(self, scene: Scene | None) -> Question:
        language: Language = self._rng.choice(("en", "zh"))
        while True:
            question = ask(
                _weighted(self._rng, self._kinds(scene)), scene, language, self._rng,
                drafts=self._mix.drafts, capitals=self._mix.capitals,
            )  # fmt: skip
            if question is not None:
                return question

    def _kinds(self, scene: Scene | None) -> Mapping[str, float]:
        kinds = self._mix.kinds
        if scene is not None and scene.number is not None:
            favourites = {"number": 6.0, "describe": 2.0, "colour": 1.0, "colour_of": 1.0}
            return {k: favourites.get(k, 0.12) for k in kinds if k not in ("box", "boxes")}
        if scene is not None and scene.things:
            return {k: w * (0.15 if k == "number" else 1) for k, w in kinds.items()}
        return kinds

    def _append(
        self, row: Row, pieces: list[tuple[list[int], bool]], question: Question, asked: int = -1
    ) -> None:
        for ids, written in pieces:
            weights = self._writer.weights(ids, bool(question.boxes)) if written else None
            row.text(ids, weights, asked if written else -1)

    def row(self, scenes: list[Scene]) -> Row:
        """As many blocks as fit. With two pictures a block asks about the second, or the first
        turn is about the first."""
        rng, writer, mix = self._rng, self._writer, self._mix
        row = Row()
        writer.user(row, rng.choice(SYSTEM) if rng.random() < 0.1 else "")
        if scenes:
            writer.picture(row, self._grid)
        if len(scenes) == 2:
            if rng.random() < 0.6:  # the second picture comes in a later turn
                row.text(writer.history(self._question(scenes[0]), rng.random() < mix.thinking))
                row.text(writer.next_turn())
            writer.picture(row, self._grid)
        if len(row.ids) + _ROOM > mix.length:
            return self.row(scenes)  # a long first turn: draw another
        scene = scenes[-1] if scenes else None
        start, misses = row.next, 0
        while misses < 3:
            block = Row(next=start, block=row.block + 1)
            self._fill(block, scene)
            if len(row.ids) + len(block.ids) > mix.length:
                misses += 1
                continue
            for name in ("ids", "positions", "weights", "blocks", "asked"):
                getattr(row, name).extend(getattr(block, name))
            row.block += 1
        return row

    def _fill(self, block: Row, scene: Scene | None) -> None:
        rng, writer = self._rng, self._writer
        thinking = rng.random() < self._mix.thinking
        while rng.random() < self._mix.turns:
            past = self._question(scene)
            if thinking:
                block.text(writer.history(past, True))
            else:
                self._append(block, writer.turn(past, scene, False), past)
            block.text(writer.next_turn())
        question = self._question(scene)
        asked = -1 if thinking else KINDS.index(question.kind)
        self._append(block, writer.turn(question, scene, thinking), question, asked)


class Batches(Dataset[Batch]):
    """Batch `i` of a stage is always the same, whatever worker makes it."""

    def __init__(self, tokenizer: Any, mix: Mix, steps: int, seed: str) -> None:
        self._writer, self._mix, self._steps, self._seed = Writer(tokenizer), mix, steps, seed
        self._empty = tokenizer.pad_token_id

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        mix, rng = self._mix, Random(f"{self._seed} {index}")
        grid = _weighted(rng, GRIDS)
        maker = RowMaker(self._writer, mix, grid, rng)
        scenes: list[Scene] = []
        rows: list[Row] = []
        for _ in range(mix.pictures):
            count = 1
            if mix.kinds:
                shares = (mix.no_picture, 1 - mix.no_picture - mix.two_pictures, mix.two_pictures)
                count = rng.choices((0, 1, 2), shares)[0]
            mine = [_scene(mix, rng, grid) for _ in range(count)]
            scenes += mine
            if mix.kinds:
                rows.append(maker.row(mine))
        pixels = np.stack([_pixels(s, grid, rng.random() < mix.jpeg, rng) for s in scenes])
        return self._collate(rows, pixels, targets(scenes, grid))

    def _collate(self, rows: list[Row], pixels: np.ndarray[Any, Any], aims: Targets) -> Batch:
        length = self._mix.length if rows else 0
        ids = np.full((len(rows), length), self._empty, np.int64)
        positions = np.zeros((3, len(rows), length), np.int64)
        weights = np.zeros((len(rows), length), np.float32)
        blocks = np.full((len(rows), length), -1, np.int64)
        asked = np.full((len(rows), length), -1, np.int64)
        for i, row in enumerate(rows):
            n = len(row.ids)
            ids[i, :n], weights[i, :n], blocks[i, :n] = row.ids, row.weights, row.blocks
            asked[i, :n] = row.asked
            positions[:, i, :n] = np.array(row.positions).T
        made = [torch.from_numpy(a) for a in (pixels, ids, positions, weights, blocks, asked)]
        return Batch(made[0], made[1], made[2], made[3], made[4], made[5], aims)
