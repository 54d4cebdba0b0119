"""What things are called in questions and answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from qwen_ui.demo_model.scenes import Scene, Thing
from qwen_ui.demo_model.words import COLOUR_ZH, SHAPE_ZH, Language


@dataclass(frozen=True)
class Slots:
    """A wording's slots and the two answers, before it is dressed as a question."""

    values: dict[str, str]
    short: str
    full: str
    boxes: tuple[tuple[int, int, int, int], ...] = ()


_SYNONYMS: dict[str, tuple[str, ...]] = {
    "圆形": ("圆", "圆圈"), "正方形": ("方块", "方形"), "三角形": ("三角",),
    "星形": ("星星", "五角星"), "心形": ("爱心", "桃心"), "十字形": ("十字",),
}  # fmt: skip


def shape_name(kind: str, language: Language, rng: Random | None = None) -> str:
    """The shape's name; with `rng`, sometimes another name, as people use in questions."""
    if language == "en":
        return kind
    name = SHAPE_ZH[kind]
    return rng.choice(_SYNONYMS[name]) if rng and rng.random() < 0.2 else name


def colour_name(colour: str, language: Language, rng: Random | None = None) -> str:
    if language == "en":
        return colour
    name = COLOUR_ZH[colour]
    return name[0] if rng and rng.random() < 0.12 else name


def named(thing: Thing, language: Language, rng: Random | None = None) -> str:
    colour = colour_name(thing.colour, language, rng)
    space = " " if language == "en" else ("的" if rng and rng.random() < 0.5 else "")
    return colour + space + shape_name(thing.kind, language, rng)


def pointer(thing: Thing, scene: Scene, language: Language, rng: Random) -> str:
    """Words that mean this thing alone: its shape, or its colour and shape."""
    alone = sum(t.kind == thing.kind for t in scene.things) == 1
    if alone and rng.random() < 0.7:
        return shape_name(thing.kind, language, rng)
    return named(thing, language, rng)


def unique(scene: Scene) -> list[Thing]:
    seen = Counter((t.kind, t.colour) for t in scene.things)
    return [t for t in scene.things if seen[t.kind, t.colour] == 1]
