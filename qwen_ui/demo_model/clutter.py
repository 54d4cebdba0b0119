"""Pictures from outside the model's world, made by us: what a photo or a screen might look like."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


def _colour(rng: Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _octaves(rng: Random, width: int, height: int) -> Image.Image:
    """Smooth noise on several scales, like clouds, ground or leaves."""
    noise = np.random.default_rng(rng.randrange(1 << 32))
    total = np.zeros((height, width, 3), np.float32)
    weight = 1.0
    grey = rng.random() < 0.3
    for scale in (2, 4, 8, 16, 32, 64):
        channels = 1 if grey or rng.random() < 0.5 else 3
        cells = noise.integers(0, 256, (scale, scale, channels), np.uint8).repeat(3 // channels, 2)
        layer = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(layer, np.float32) - 128)
        weight *= rng.uniform(0.45, 0.95)
    base = np.array(_colour(rng), np.float32) * 0.5 + 64
    return Image.fromarray(np.clip(base + total * rng.uniform(0.4, 1.0), 0, 255).astype(np.uint8))


def _landscape(rng: Random, width: int, height: int) -> Image.Image:
    """Bands one above another with rough edges: sky, hills, ground."""
    picture = _octaves(rng, width, height)
    draw = ImageDraw.Draw(picture)
    level = rng.uniform(0.2, 0.5) * height
    while level < height:
        x, points = 0.0, [(0.0, float(height)), (0.0, level)]
        while x < width:
            x += rng.uniform(0.03, 0.2) * width
            points.append((x, level + rng.uniform(-0.08, 0.08) * height))
        draw.polygon([*points, (float(width), float(height))], fill=_colour(rng))
        level += rng.uniform(0.12, 0.35) * height
    blurred = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))
    return Image.blend(blurred, _octaves(rng, width, height), rng.uniform(0.1, 0.4))


def _blobs(rng: Random, width: int, height: int) -> Image.Image:
    """A heap of overlapping soft blobs on a busy ground, like a close-up."""
    picture = _octaves(rng, width, height)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(6, 30)):
        x, y = rng.uniform(-0.1, 1) * width, rng.uniform(-0.1, 1) * height
        w, h = rng.uniform(0.05, 0.5) * width, rng.uniform(0.05, 0.5) * height
        draw.ellipse((x, y, x + w, y + h), fill=_colour(rng))
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))


def _portrait(rng: Random, width: int, height: int) -> Image.Image:
    """A large soft oval over shoulders on a blurred ground."""
    picture = _octaves(rng, width, height)
    draw = ImageDraw.Draw(picture)
    x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.25, 0.5) * height
    w, h = rng.uniform(0.12, 0.3) * width, rng.uniform(0.18, 0.35) * height
    skin = (rng.randint(90, 250), rng.randint(60, 200), rng.randint(40, 170))
    draw.ellipse((x - 2 * w, y + h * 0.8, x + 2 * w, y + 4 * h), fill=_colour(rng))
    draw.ellipse((x - w * 1.15, y - h * 1.2, x + w * 1.15, y + h), fill=_colour(rng))
    draw.ellipse((x - w, y - h, x + w, y + h), fill=skin)
    for side in (-0.4, 0.4):
        draw.ellipse((x + side * w - w / 8, y - h / 5, x + side * w + w / 8, y), fill=(20, 20, 20))
    draw.line((x - w / 3, y + h / 2, x + w / 3, y + h / 2), fill=_colour(rng), width=3)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 4)))
    return Image.blend(picture, _octaves(rng, width, height), rng.uniform(0.1, 0.35))


def _collage(rng: Random, width: int, height: int) -> Image.Image:
    """Many small hard-edged pieces in many colours."""
    picture = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(12, 80)):
        x, y = rng.uniform(-0.1, 1) * width, rng.uniform(-0.1, 1) * height
        corners = [
            (x + rng.uniform(-0.25, 0.25) * width, y + rng.uniform(-0.25, 0.25) * height)
            for _ in range(rng.randint(3, 6))
        ]
        draw.polygon(corners, fill=_colour(rng))
    return picture


def _screen(rng: Random, width: int, height: int) -> Image.Image:
    """Lines of text-like strokes in boxes, as on a page or a screenshot."""
    paper, ink = ((250, 250, 250), (40, 40, 40)) if rng.random() < 0.6 else (_colour(rng),) * 2
    ink = _colour(rng) if ink == paper else ink
    picture = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(picture)
    line = max(5, round(rng.uniform(0.03, 0.09) * height))
    for y in range(line, height - line, round(line * rng.uniform(1.2, 2))):
        x: float = 0.05 * width
        end = rng.uniform(0.3, 0.97) * width
        while x < end:
            word = rng.uniform(0.02, 0.12) * width
            for bar in range(round(x), round(x + word), 3):
                above = y + rng.randint(0, line // 3)
                draw.line((bar, above, bar + rng.randint(-1, 2), y + line * 0.7), fill=ink)
            x += word + 0.02 * width
    for _ in range(rng.randint(0, 3)):
        left, top = rng.uniform(0, 0.7) * width, rng.uniform(0, 0.7) * height
        right, low = left + rng.uniform(0.1, 0.4) * width, top + rng.uniform(0.1, 0.4) * height
        draw.rectangle((left, top, right, low), fill=_colour(rng))
    return picture


def _stripes(rng: Random, width: int, height: int) -> Image.Image:
    """Repeating texture: stripes, checks, waves."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
    period = rng.uniform(0.04, 0.3) * min(width, height)
    wave = np.sin((a * x + b * y) / period * 6.3 + 2 * np.sin(x / period) * rng.random())
    if rng.random() < 0.4:
        wave = wave * np.sin((b * x - a * y) / period * 6.3)
    wave = (np.sign(wave) if rng.random() < 0.4 else wave)[..., None] * 0.5 + 0.5
    mix = wave * np.array(_colour(rng)) + (1 - wave) * np.array(_colour(rng))
    return Image.fromarray(mix.astype(np.uint8))


def _noise(rng: Random, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(rng.randrange(1 << 32))
    cell = rng.choice((1, 2, 4, 8, 16))
    small = noise.integers(0, 256, (height // cell + 1, width // cell + 1, 3), np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)
    return picture.filter(ImageFilter.GaussianBlur(rng.choice((0, 0, 1, 3))))


def _overlay(rng: Random, width: int, height: int) -> Image.Image:
    """Two pictures in one: depth and clutter of a real scene."""
    first, second = rng.sample(_KINDS, 2)
    over = ImageChops.multiply if rng.random() < 0.5 else ImageChops.screen
    return over(first(rng, width, height), second(rng, width, height))


_KINDS: tuple[Callable[[Random, int, int], Image.Image], ...] = (
    _octaves, _landscape, _blobs, _portrait, _collage, _screen, _stripes, _noise,
)  # fmt: skip


def clutter(rng: Random, width: int, height: int) -> Image.Image:
    kind = rng.choice((*_KINDS, _overlay, _octaves, _landscape, _portrait))
    return kind(rng, width, height)
