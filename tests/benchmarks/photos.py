"""Photos and a colour profile to measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms


def photo(size: tuple[int, int], data: Path | None) -> Image.Image:
    """A real photo where there is a data folder, else one with as much detail."""
    photo = Path(data) / "images" / "photos" / "football_field.jpg" if data else None
    if photo is None or not photo.is_file():
        return synthesised(size)
    with Image.open(photo) as image:
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def synthesised(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Blurred blotches of every size, with the noise of a camera."""
    chance = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3))
    for cells, weight in ((6, 70), (40, 35), (200, 18)):
        coarse = chance.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        blotches = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        pixels += (np.asarray(blotches, dtype=float) - 128) * weight / 128
    pixels += chance.normal(128, 5, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def adobe_like_profile() -> bytes:
    """sRGB with red and green exchanged: a profile whose conversion cannot be skipped."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = [132 + 12 * n for n in range(int.from_bytes(data[128:132], "big"))]
    place = {bytes(data[at : at + 4]): at + 4 for at in entries}
    red, green = place[b"rXYZ"], place[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace(b"s\0R\0G\0B", b"x\0y\0G\0B").replace(b"sRGB b", b"xyGB b")
