"""Which picture files can be opened here, and by which decoders. Bytes decide, never a name.

HEIC needs the extra `heic` (pillow-heif); everything else is Pillow's own.
"""

from __future__ import annotations

import importlib

import PIL
from PIL import features

_PILLOWS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")  # JPEG opens MPO too
_LIBRARIES = ("libjpeg_turbo", "zlib", "webp", "avif", "libtiff", "littlecms2")

# Files of several pictures of which one is *the* picture, not always the first: viewers show it
# alone. The others are previews, depth, a second eye.
STILLS = ("MPO", "HEIF")

# ISO/IEC 23008-12, annex B, and the brands that iPhones write; `mif1` alone may be an AVIF
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _register_heic() -> str:
    """Teach Pillow to open HEIC; the decoder's version, or nothing where it is not installed."""
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        return ""
    pillow_heif.register_heif_opener(thumbnails=False)
    return str(pillow_heif.libheif_version())


_HEIC = _register_heic()
FORMATS = _PILLOWS + (("HEIF",) if _HEIC else ())

# another decoder may round another way: part of what a remembered digest was made with
DECODERS = "/".join([PIL.__version__, *(str(features.version(n)) for n in _LIBRARIES), _HEIC])


def looks_like_heic(data: bytes) -> bool:
    """Whether a file says that it is HEIC: its first box is `ftyp` with one of these brands."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS
