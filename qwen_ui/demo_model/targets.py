"""Dense targets for the vision tower: what is where, cell by cell and patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from qwen_ui.demo_model.drawing import polygon
from qwen_ui.demo_model.scenes import COLOURS, SHAPES, Scene, Thing

KINDS = (*SHAPES, *"0123456789")
COLOUR_NAMES = tuple(COLOURS)
NOTHING = -100  # ignored by cross entropy
FINE = 4  # samples along a patch's side


@dataclass
class Targets:
    kind: torch.Tensor  # [P, cells]: the kind of the thing whose centre is here, else NOTHING
    colour: torch.Tensor  # [P, cells]
    centre: torch.Tensor  # [P, cells]: 1.0 where a centre is
    box: torch.Tensor  # [P, cells, 4]: x, y, width, height
    patch_kind: torch.Tensor  # [P, patches]: what covers the patch, len(KINDS) for nothing
    patch_colour: torch.Tensor  # [P, patches]
    picture: torch.Tensor  # [P]: 0 shapes, 1 a number, 2 strange, 3 empty


def _cover(scene: Scene, grid: tuple[int, int], things: tuple[Thing, ...]) -> np.ndarray[Any, Any]:
    """For each patch the index + 1 of the thing that covers a quarter of it or more, else 0.
    The patches are in the model's order: cell by cell."""
    rows, columns = grid[0] * 2, grid[1] * 2
    canvas = Image.new("L", (columns * FINE, rows * FINE))
    draw = ImageDraw.Draw(canvas)
    for i, thing in enumerate(things):
        points = [
            (x / scene.width * columns * FINE, y / scene.height * rows * FINE)
            for x, y in polygon(thing, scene.width, scene.height)
        ]
        draw.polygon(points, fill=i + 1)
    blocks = np.asarray(canvas).reshape(rows, FINE, columns, FINE).transpose(0, 2, 1, 3)
    fine: np.ndarray[Any, Any] = blocks.reshape(rows, columns, FINE * FINE)
    shares = np.stack([(fine == i + 1).mean(-1) for i in range(len(things))])
    best = np.where(shares.max(0) >= 0.25, shares.argmax(0) + 1, 0)
    return best.reshape(grid[0], 2, grid[1], 2).transpose(0, 2, 1, 3).reshape(-1)


def targets(scenes: list[Scene], grid: tuple[int, int]) -> Targets:
    p, cells = len(scenes), grid[0] * grid[1]
    kind = np.full((p, cells), NOTHING, np.int64)
    colour = np.full((p, cells), NOTHING, np.int64)
    centre = np.zeros((p, cells), np.float32)
    box = np.zeros((p, cells, 4), np.float32)
    patch_kind = np.full((p, cells * 4), len(KINDS), np.int64)
    patch_colour = np.full((p, cells * 4), len(COLOURS), np.int64)
    picture = np.zeros(p, np.int64)
    for i, scene in enumerate(scenes):
        things = scene.things + scene.digits
        picture[i] = 2 if scene.strange else 1 if scene.digits else 0 if things else 3
        if not things:
            continue
        cover = _cover(scene, grid, things)
        for j, thing in enumerate(things):
            cell = int(thing.y * grid[0]) * grid[1] + int(thing.x * grid[1])
            x1, y1, x2, y2 = thing.box(scene.width, scene.height)
            k, c = KINDS.index(thing.kind), COLOUR_NAMES.index(thing.colour)
            patch_kind[i, cover == j + 1] = k
            patch_colour[i, cover == j + 1] = c
            if centre[i, cell] == 0:
                kind[i, cell], colour[i, cell], centre[i, cell] = k, c, 1.0
                box[i, cell] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    made = [
        torch.from_numpy(a) for a in (kind, colour, centre, box, patch_kind, patch_colour, picture)
    ]
    return Targets(*made)
