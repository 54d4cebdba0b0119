"""Drawn scenes: what the demo model knows of the world. Everything follows from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from qwen_ui.demo_model import drawing
from qwen_ui.demo_model.grid import grid_of

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (250, 140, 20),
    "yellow": (245, 215, 40),
    "green": (40, 160, 70),
    "blue": (45, 95, 220),
    "purple": (140, 60, 180),
    "black": (25, 25, 28),
    "white": (250, 250, 250),
}
BACKGROUNDS: tuple[tuple[int, int, int], ...] = (
    (255, 255, 255), (245, 245, 245), (225, 228, 232), (190, 194, 200), (250, 244, 228),
    (222, 236, 250), (226, 244, 228), (250, 228, 232), (205, 190, 165), (120, 126, 134),
    (60, 64, 72), (30, 36, 60), (20, 52, 48), (0, 0, 0), (86, 60, 50), (160, 205, 215),
)  # fmt: skip
MIN_CONTRAST = 95.0
UNSURE_ROW = 0.07  # of a row: things this near to its border are not listed
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)


@dataclass(frozen=True)
class Thing:
    """One shape, or one digit. `x, y` is the centre and `radius` half the height, all as
    fractions: x of the width, y of the height, radius of the shorter side."""

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float = 0.0
    rgb: tuple[int, int, int] = (0, 0, 0)
    aspect: float = 1.0  # width / height of a digit's box

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 as fractions of the picture, cut at its edges."""
        return drawing.bounds(self, width, height)

    @property
    def place(self) -> str:
        return PLACES[min(2, int(self.y * 3))][min(2, int(self.x * 3))]


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    background: tuple[int, int, int]
    things: tuple[Thing, ...]  # shapes in `reading_order`
    number: int | None = None
    digits: tuple[Thing, ...] = ()
    strange: bool = False  # not of our world: noise, clutter, a photo
    seed: int = 0
    style: int = 0

    def draw(self) -> Image.Image:
        return drawing.draw(self)

    @property
    def order_is_sure(self) -> bool:
        """Whether no thing is so near to the border of a row that a hair would reorder them."""
        rows, _ = grid_of(self.width, self.height)
        for i, thing in enumerate(self.things):
            for shift in (-UNSURE_ROW / rows, UNSURE_ROW / rows):
                moved = list(self.things)
                moved[i] = replace(thing, y=thing.y + shift)
                order = reading_order(moved, self.width, self.height)
                if order.index(moved[i]) != i:
                    return False
        return True


def reading_order(things: list[Thing], width: int, height: int) -> list[Thing]:
    """Row by row, and from left to right in a row; a row is one of the model's merged tokens
    high. So the first thing is the one whose token the model reads first."""
    rows, _ = grid_of(width, height)
    return sorted(things, key=lambda t: (int(t.y * rows), t.x))


def _distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    return math.dist(a, b)


def _shade(rng: Random, colour: str) -> tuple[int, int, int]:
    jitter = 8 if colour in ("black", "white") else 16
    r, g, b = (min(255, max(0, c + rng.randint(-jitter, jitter))) for c in COLOURS[colour])
    return r, g, b


def _background(rng: Random) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, c + rng.randint(-6, 6))) for c in rng.choice(BACKGROUNDS))
    return r, g, b


def _visible_colours(background: tuple[int, int, int]) -> list[str]:
    return [c for c, rgb in COLOURS.items() if _distance(rgb, background) >= MIN_CONTRAST]


def _apart(new: Thing, placed: list[Thing], width: int, height: int) -> bool:
    short = min(width, height)
    for other in placed:
        dx, dy = (new.x - other.x) * width, (new.y - other.y) * height
        if math.hypot(dx, dy) < (new.radius + other.radius) * short * 1.08 + 0.03 * short:
            return False
        # Left to right must be clear, since lists are in that order.
        if abs(new.x - other.x) < 0.05:
            return False
    return True


def _place(
    rng: Random, width: int, height: int, largest: float, placed: list[Thing]
) -> Thing | None:
    short = min(width, height)
    for _ in range(40):
        radius = rng.uniform(0.15, largest)
        mx, my = radius * short / width, radius * short / height
        thing = Thing(
            kind=rng.choice(SHAPES),
            colour="",
            x=rng.uniform(mx, 1 - mx),
            y=rng.uniform(my, 1 - my),
            radius=radius,
            angle=rng.uniform(-12, 12),
        )
        if _apart(thing, placed, width, height):
            return thing
    return None


def shapes_scene(seed: int, width: int, height: int, count: int) -> Scene:
    """`count` shapes, never overlapping; fewer where they do not fit."""
    rng = Random(f"shapes {seed}")
    background = _background(rng)
    colours = _visible_colours(background)
    largest = {0: 0.4, 1: 0.42, 2: 0.3, 3: 0.25}.get(count, 0.2)
    placed: list[Thing] = []
    for _ in range(count):
        thing = _place(rng, width, height, largest, placed)
        if thing is None:
            continue
        if placed and rng.random() < 0.4:  # the same shape or colour twice, for counting
            other = rng.choice(placed)
            colour = rng.choice(colours)
            thing = replace(thing, kind=other.kind) if rng.random() < 0.6 else thing
            colour = other.colour if thing.kind != other.kind else colour
        else:
            colour = rng.choice(colours)
        placed.append(replace(thing, colour=colour, rgb=_shade(rng, colour)))
    things = tuple(reading_order(placed, width, height))
    return Scene(width, height, background, things, seed=seed, style=rng.randrange(8))


def number_scene(seed: int, width: int, height: int, number: int | None = None) -> Scene:
    """A number from 0 to 99, typed or written by hand, somewhere in the picture."""
    rng = Random(f"number {seed}")
    number = rng.randrange(100) if number is None else number
    background = _background(rng)
    colour = rng.choice(_visible_colours(background))
    rgb = _shade(rng, colour)
    text = str(number)
    style = rng.randrange(4)
    aspect = rng.uniform(0.52, 0.72)
    gap = rng.uniform(0.08, 0.22)
    short = min(width, height)
    across = (len(text) * aspect + (len(text) - 1) * gap) * 2  # in radii
    most = min(0.46, 0.94 * width / short / across)
    radius = rng.uniform(0.5 * most + 0.07, most)
    half = across * radius * short / width / 2
    middle_x = rng.uniform(half, 1 - half)
    my = radius * short / height
    y = rng.uniform(my, 1 - my)
    step = (aspect + gap) * 2 * radius * short / width
    first = middle_x - step * (len(text) - 1) / 2
    slant = rng.uniform(-8, 8)
    digits = tuple(
        Thing(d, colour, first + i * step, y, radius, slant, rgb, aspect)
        for i, d in enumerate(text)
    )
    return Scene(width, height, background, (), number, digits, seed=seed, style=style)


def strange_scene(seed: int, width: int, height: int) -> Scene:
    """A picture from outside the world; `drawing.clutter` makes it."""
    return Scene(width, height, (128, 128, 128), (), strange=True, seed=seed)


def example_pictures() -> list[tuple[str, Image.Image, str, str]]:
    """Name, picture, an English question and a Chinese one, for the chat page."""
    size = (768, 576)

    def thing(kind: str, colour: str, x: float, y: float, radius: float, angle: float = 0) -> Thing:
        return Thing(kind, colour, x, y, radius, angle, COLOURS[colour])

    two = Scene(*size, BACKGROUNDS[0], (
        thing("circle", "red", 0.27, 0.36, 0.22), thing("square", "blue", 0.7, 0.64, 0.2),
    ))  # fmt: skip
    three = Scene(*size, BACKGROUNDS[4], (
        thing("star", "purple", 0.2, 0.3, 0.2), thing("heart", "red", 0.5, 0.7, 0.19),
        thing("triangle", "green", 0.8, 0.32, 0.2),
    ))  # fmt: skip
    night = Scene(*size, BACKGROUNDS[11], (
        thing("circle", "yellow", 0.74, 0.3, 0.2), thing("star", "white", 0.28, 0.62, 0.22, 8),
    ))  # fmt: skip
    one = Scene(*size, BACKGROUNDS[5], (thing("heart", "orange", 0.5, 0.5, 0.36),))
    number = number_scene(7, *size, number=42)
    return [
        ("two-shapes", two.draw(), "What is in the picture?", "图里有什么？"),
        ("three-shapes", three.draw(), "How many shapes are there?", "图中有几个图形？"),
        ("night", night.draw(), "What colour is the circle?", "圆形是什么颜色？"),
        ("heart", one.draw(), "What shape is it?", "这是什么形状？"),
        ("number", number.draw(), "What number is this?", "这是什么数字？"),
    ]
