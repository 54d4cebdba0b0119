"""Pictures made on the spot, as files of many kinds."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

# the transposition that a viewer applies for each EXIF orientation, undone
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(width: int = 48, height: int = 32, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise: no two sides alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + 4 * c) + seed) + np.cos(y / (7 + 3 * c)) for c in range(3)]
    pixels = 128 + 50 * np.stack(waves, -1) + generator.normal(0, 6, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def turned(image: Image.Image, orientation: int, kind: str = "PNG", **options: Any) -> bytes:
    """A file whose pixels are turned so that its orientation makes it upright again."""
    how = STORED_AS[orientation]
    stored = image if how is None else image.transpose(how)
    return saved(stored, kind, exif=exif(orientation), **options)


def png(color: int, depth: int, width: int, height: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG by hand: colour type, bit depth, rows with their filter bytes, further chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Other bytes, equal pixels: a comment segment after the first marker."""
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def grey_profile(gamma: float) -> bytes:
    """A colour profile for grey pictures (ICC.1:2010): one curve, nothing else."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    white = fixed(0.9642) + fixed(1) + fixed(0.8249)
    name = b"grey of a test\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", 128 + len(table) + len(body))
    head = size + b"lcms\2\x20\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + white
    return head + bytes(128 - len(head)) + table + body
