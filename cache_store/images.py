"""Pictures in canonical form: upright, opaque, sRGB, eight bits; and the digest of their pixels.

The model gets exactly the pixels that are hashed. Orientation (EXIF), transparency, palettes,
CMYK, grey, 16 bits and colour profiles are resolved once, here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import lru_cache
from typing import IO, cast

import numpy as np
from PIL import Image, ImageCms

from cache_store import formats
from cache_store.errors import InvalidPicture, PictureTooLarge

VERSION = 2  # of the canonical form: a change here makes every remembered digest stale
DECODERS = f"{VERSION}/{formats.DECODERS}"

_ORIENTATION = 0x0112
_TURN_UPRIGHT = {  # EXIF 2.32, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OVERSIZE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_GRID = 9  # levels of each channel
_SAME = 2  # steps of 255: profiles of the same sRGB round their curves differently
_SRGB = ImageCms.createProfile("sRGB")


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """The canonical picture of a file: upright RGB, first frame.

    Raises InvalidPicture, and PictureTooLarge before a pixel is decoded.
    """
    with _open(data, max_pixels) as image:
        try:
            return canonicalise(image)
        except Exception as error:  # decoders raise nearly everything on hostile bytes
            raise InvalidPicture(f"{type(error).__name__}: {error}") from error


def canonicalise(image: Image.Image) -> Image.Image:
    """Upright, opaque, eight-bit sRGB, first frame. `info["frames"]` keeps how many there were.

    The given picture is taken over: it may be changed, and may be the result.
    """
    frames = 1 if image.format in formats.STILLS else getattr(image, "n_frames", 1)
    if frames > 1:
        image.seek(0)
    image.load()
    upright = _upright(image)
    result = _on_white(_eight_bits(upright))
    result = _to_srgb(result, upright.info.get("icc_profile"))
    result.info = {"frames": frames}
    return result


def digest(image: Image.Image) -> str:
    """Hex SHA-256 over mode, size and pixels of a canonical picture, in bounded memory.

    The bytes hashed are those of the picture as a binary PPM file, so `sha256sum` on that file
    agrees for a still picture. The first frame of an animation is hashed apart from a still.
    """
    if image.mode != "RGB":
        raise ValueError(f"not canonical: mode {image.mode}")
    sink = _Hasher(b"" if image.info.get("frames", 1) == 1 else b"first frame\n")
    image.save(cast(IO[bytes], sink), "PPM")
    return sink.sha256.hexdigest()


class _Hasher:
    """A file that only hashes what is written to it."""

    def __init__(self, prefix: bytes) -> None:
        self.sha256 = hashlib.sha256(prefix)
        # itself: a small picture has many calls for its size
        self.write: Callable[[bytes], None] = self.sha256.update

    def flush(self) -> None:
        """Nothing is buffered."""


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=formats.FORMATS)
    except _OVERSIZE as error:  # Pillow's own limits, far above ours
        raise PictureTooLarge(0, 0, max_pixels) from error
    except Exception as error:  # header parsers raise nearly everything on hostile bytes
        if formats.looks_like_heic(data) and "HEIF" not in formats.FORMATS:
            raise InvalidPicture("HEIC needs an extra: pip install 'qwen-ui[heic]'") from error
        raise InvalidPicture(f"{type(error).__name__}: {error}") from error
    if image.width * image.height > max_pixels:
        raise PictureTooLarge(image.width, image.height, max_pixels)
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURN_UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF says nothing about the pixels
        return image
    # not ImageOps.exif_transpose: it writes the EXIF anew, which fails where a tag is damaged
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 and 32 bits scaled to 8, rounded: `convert` alone would clip them."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image.convert("I"))
        grey = Image.fromarray(((values.clip(0, 0xFFFF) + 128) // 257).astype(np.uint8))
        clear = image.info.get("transparency")  # of a PNG: one of the 16-bit values
        if isinstance(clear, int):
            opaque = np.where(values == clear, 0, 255).astype(np.uint8)
            return Image.merge("LA", (grey, Image.fromarray(opaque)))
        return grey
    if image.mode == "F":
        return image.convert("L")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """Opaque, in the colours of its profile: RGB, CMYK or grey."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        laid = Image.alpha_composite(white, rgba).convert("RGB")
        return laid.getchannel(0) if image.mode in ("L", "LA", "La") else laid
    return image if image.mode in ("RGB", "CMYK", "L") else image.convert("RGB")


@lru_cache(maxsize=32)
def _is_srgb(profile: bytes) -> bool:
    """Whether conversion from this profile to sRGB changes nothing that counts: judged by what it
    does to a grid of colours, since a name promises nothing. Raises ImageCms.PyCMSError.
    """
    levels = np.linspace(0, 255, _GRID).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_GRID, -1, 3)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(Image.fromarray(colours), source, _SRGB)
    changed = np.abs(np.asarray(converted, dtype=int) - colours)
    return int(changed.max()) <= _SAME


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode == "L" and source.profile.xcolor_space.strip() != "GRAY":
                image = image.convert("RGB")  # a grey picture under a colour profile
            if image.mode != "RGB" or not _is_srgb(profile):
                converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
                return cast(Image.Image, converted)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged or ill-fitting profile: the numbers as they are
    if image.mode != "RGB":
        return image.convert("RGB")
    return image.copy() if image.readonly else image
