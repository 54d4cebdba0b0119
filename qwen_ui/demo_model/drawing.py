"""Puts scenes on pixels: shapes as polygons, digits typed or written, pictures of nothing known."""

from __future__ import annotations

import math
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from qwen_ui.demo_model.clutter import clutter

if TYPE_CHECKING:
    from qwen_ui.demo_model.scenes import Scene, Thing

Points = list[tuple[float, float]]

# Strokes of hand-written digits in a box of 1 x 1, y down.
STROKES: dict[str, list[Points]] = {
    "0": [[(0.5 + 0.46 * math.sin(a * 0.3491), 0.5 - 0.48 * math.cos(a * 0.3491))
           for a in range(19)]],
    "1": [[(0.2, 0.25), (0.55, 0.02), (0.55, 0.98)]],
    "2": [[(0.05, 0.25), (0.2, 0.06), (0.5, 0.02), (0.82, 0.1), (0.9, 0.3), (0.75, 0.5),
           (0.05, 0.98), (0.95, 0.98)]],
    "3": [[(0.08, 0.1), (0.45, 0.02), (0.82, 0.1), (0.88, 0.28), (0.72, 0.44), (0.4, 0.48)],
          [(0.4, 0.48), (0.78, 0.54), (0.94, 0.72), (0.82, 0.92), (0.45, 0.98), (0.05, 0.88)]],
    "4": [[(0.72, 0.98), (0.72, 0.02), (0.04, 0.68), (0.98, 0.68)]],
    "5": [[(0.9, 0.02), (0.18, 0.02), (0.12, 0.45), (0.5, 0.38), (0.85, 0.48), (0.94, 0.7),
           (0.8, 0.92), (0.45, 0.98), (0.06, 0.88)]],
    "6": [[(0.8, 0.04), (0.4, 0.2), (0.12, 0.52), (0.08, 0.78), (0.3, 0.97), (0.68, 0.97),
           (0.92, 0.76), (0.78, 0.54), (0.45, 0.5), (0.14, 0.64)]],
    "7": [[(0.04, 0.03), (0.95, 0.03), (0.4, 0.98)]],
    "8": [[(0.5, 0.47), (0.18, 0.34), (0.14, 0.14), (0.5, 0.02), (0.86, 0.14), (0.82, 0.34),
           (0.5, 0.47), (0.1, 0.62), (0.08, 0.84), (0.5, 0.98), (0.92, 0.84), (0.9, 0.62),
           (0.5, 0.47)]],
    "9": [[(0.88, 0.36), (0.55, 0.5), (0.22, 0.46), (0.08, 0.24), (0.3, 0.03), (0.7, 0.03),
           (0.9, 0.22), (0.9, 0.5), (0.7, 0.98)]],
}  # fmt: skip


def outline(kind: str) -> Points:
    """The corners of a shape in the circle of radius 1, y down."""
    if kind == "circle":
        return _ring(48, 1.0, 1.0)
    if kind == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if kind == "triangle":
        return [(0.0, -0.95), (0.98, 0.8), (-0.98, 0.8)]
    if kind == "star":
        return _ring(10, 1.0, 0.42)
    if kind == "cross":
        a, b = 0.95, 0.32
        return [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a),
                (-b, b), (-a, b), (-a, -b), (-b, -b)]  # fmt: skip
    if kind == "heart":
        turns = [i * math.tau / 48 for i in range(48)]
        return [
            (
                math.sin(t) ** 3,
                -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
                / 16 - 0.12,
            )
            for t in turns
        ]  # fmt: skip
    raise ValueError(f"no shape {kind!r}")


def _ring(corners: int, outer: float, inner: float) -> Points:
    return [
        (r * math.sin(i * math.tau / corners), -r * math.cos(i * math.tau / corners))
        for i in range(corners)
        for r in [outer if i % 2 == 0 else inner]
    ]


def polygon(thing: Thing, width: int, height: int) -> Points:
    """The thing's corners in pixels; a digit's are those of its box."""
    radius = thing.radius * min(width, height)
    turn = math.radians(thing.angle)
    if thing.kind.isdigit():
        a = thing.aspect
        corners: Points = [(-a, -1), (a, -1), (a, 1), (-a, 1)]
        turn = 0.0
    else:
        corners = outline(thing.kind)
    cos, sin = math.cos(turn), math.sin(turn)
    return [
        (
            thing.x * width + radius * (x * cos - y * sin),
            thing.y * height + radius * (x * sin + y * cos),
        )
        for x, y in corners
    ]


def bounds(thing: Thing, width: int, height: int) -> tuple[float, float, float, float]:
    points = polygon(thing, width, height)
    xs, ys = [x / width for x, _ in points], [y / height for _, y in points]
    return max(0.0, min(xs)), max(0.0, min(ys)), min(1.0, max(xs)), min(1.0, max(ys))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@cache
def _typed(digit: str, bold: int) -> Image.Image:
    """A mask of the digit in Pillow's own font, cut to its ink."""
    canvas = Image.new("L", (220, 260))
    ImageDraw.Draw(canvas).text(
        (60, 20), digit, 255, font=_font(200), stroke_width=bold * 5, stroke_fill=255
    )
    box = canvas.getbbox()
    assert box is not None
    return canvas.crop(box)


def _draw_digit(picture: Image.Image, thing: Thing, style: int) -> None:
    width, height = picture.size
    radius = thing.radius * min(width, height)
    left, top = thing.x * width - radius * thing.aspect, thing.y * height - radius
    wide, high = 2 * radius * thing.aspect, 2 * radius
    if style < 2:
        mask = _typed(thing.kind, style)
        if thing.kind == "1":  # a 1 as wide as a 0 would not look typed
            left, wide = left + wide * 0.25, wide * 0.5
        mask = mask.resize((max(2, round(wide)), max(2, round(high))))
        picture.paste(thing.rgb, (round(left), round(top)), mask)
        return
    pen = max(2, round(radius * (0.17 if style == 2 else 0.25)))
    slant = math.tan(math.radians(thing.angle))
    draw = ImageDraw.Draw(picture)
    inset = pen / 2
    for stroke in STROKES[thing.kind]:
        points = [
            (
                left + inset + x * (wide - pen) + slant * (0.5 - y) * high * 0.5,
                top + inset + y * (high - pen),
            )
            for x, y in stroke
        ]
        draw.line(points, fill=thing.rgb, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - inset, y - inset, x + inset, y + inset), fill=thing.rgb)


def _paper(scene: Scene) -> Image.Image:
    """The background: plain, or for a few styles a faint gradient."""
    picture = Image.new("RGB", (scene.width, scene.height), scene.background)
    if scene.style == 3 and scene.things:
        lighter = Image.new("RGB", picture.size, (255, 255, 255))
        ramp = Image.linear_gradient("L").resize(picture.size).point([i // 10 for i in range(256)])
        picture.paste(lighter, (0, 0), ramp)
    return picture


def draw(scene: Scene) -> Image.Image:
    if scene.strange:
        return clutter(Random(f"clutter {scene.seed}"), scene.width, scene.height)
    picture = _paper(scene)
    draw_on = ImageDraw.Draw(picture)
    for thing in scene.things:
        edge = None
        if scene.style in (4, 5):  # a darker rim, as drawing programs make
            edge = (thing.rgb[0] * 2 // 3, thing.rgb[1] * 2 // 3, thing.rgb[2] * 2 // 3)
        points = polygon(thing, scene.width, scene.height)
        draw_on.polygon(points, fill=thing.rgb, outline=edge, width=2 if edge else 1)
    for digit in scene.digits:
        _draw_digit(picture, digit, scene.style)
    return picture
