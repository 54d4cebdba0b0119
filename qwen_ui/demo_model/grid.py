"""The grid of merged tokens that a picture becomes."""

from __future__ import annotations

import math

PATCH, MERGE = 16, 2
CELL = PATCH * MERGE  # pixels of one merged token, either way
# 16 to 24 merged tokens, whatever the picture's size (128 x 128 to 192 x 128 pixels).
MIN_PIXELS, MAX_PIXELS = 128 * 128, 25000


def grid_of(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of merged tokens that a picture of this size becomes.

    The rule is `smart_resize` of transformers, which cannot be imported without all of torch:
    the page draws its examples before any model is there.
    """
    rows, columns = round(height / CELL), round(width / CELL)
    if rows * columns * CELL**2 > MAX_PIXELS:
        shrunk = math.sqrt(height * width / MAX_PIXELS)
        rows = max(1, math.floor(height / shrunk / CELL))
        columns = max(1, math.floor(width / shrunk / CELL))
    elif rows * columns * CELL**2 < MIN_PIXELS:
        grown = math.sqrt(MIN_PIXELS / (height * width))
        rows = math.ceil(height * grown / CELL)
        columns = math.ceil(width * grown / CELL)
    return rows, columns
