"""One picture has one canonical form, and two pictures never share a digest."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps, features

from cache_store import formats, images
from cache_store.errors import InvalidPicture, PictureTooLarge
from cache_store.formats import FORMATS
from cache_store.images import canonicalise, decode, digest
from tests.pictures import chunk, exif, grey_profile, photo, png, saved, turned, with_comment

MAX_PIXELS = 2**24

# What Pillow says of damaged files is a warning to its user; outside of tests it is only printed.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL"),
]


def pixels(data: bytes) -> list[tuple[int, int, int]]:
    image = decode(data, MAX_PIXELS)
    assert image.mode == "RGB"
    raw = image.tobytes()
    return [(raw[i], raw[i + 1], raw[i + 2]) for i in range(0, len(raw), 3)]


def digest_of(data: bytes) -> str:
    return digest(decode(data, MAX_PIXELS))


# --- orientation -------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_all_eight_orientations_become_the_upright_picture(
    orientation: int, kind: str, options: dict[str, bool]
) -> None:
    upright = photo()
    found = decode(turned(upright, orientation, kind, **options), MAX_PIXELS)
    assert found.size == upright.size
    assert found.tobytes() == upright.tobytes()
    assert digest(found) == digest_of(saved(upright, "BMP"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_of_a_tiff_become_the_upright_picture(orientation: int) -> None:
    upright = photo()
    found = decode(turned(upright, orientation, "TIFF"), MAX_PIXELS)
    assert found.tobytes() == upright.tobytes()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_of_avif_and_heic_become_upright(
    kind: str, orientation: int
) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed")
    upright = photo(64, 48)
    found = decode(turned(upright, orientation, kind, quality=95), MAX_PIXELS)
    assert found.size == upright.size
    far = np.abs(np.asarray(found, dtype=float) - np.asarray(upright, dtype=float)).mean()
    assert far < 12  # both formats lose a little; a picture that lies differs by more than 40


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    data = saved(photo(), "PNG", exif=exif(orientation))
    assert digest_of(data) == digest_of(saved(photo()))


def test_equal_bytes_with_orientation_1_and_6_are_two_pictures() -> None:
    image = photo()
    upright, turned_right = (saved(image, "JPEG", exif=exif(n)) for n in (1, 6))
    assert decode(upright, MAX_PIXELS).size == (48, 32)
    assert decode(turned_right, MAX_PIXELS).size == (32, 48)
    assert digest_of(upright) != digest_of(turned_right)


def test_a_turned_picture_with_other_damaged_exif_is_still_turned() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "maker" * 4
    good = tags.tobytes()
    wanted = decode(saved(photo(), "JPEG", exif=good), MAX_PIXELS).size
    place = good.index(b"\x01\x0f") if b"\x01\x0f" in good else good.index(b"\x0f\x01")
    for kind in range(256):  # every type that a tag may claim to have
        damaged = bytearray(good)
        damaged[place + 2] = damaged[place + 3] = kind
        assert decode(saved(photo(), "JPEG", exif=bytes(damaged)), MAX_PIXELS).size in (
            wanted,
            wanted[::-1],
        )


def test_the_canonical_picture_has_no_orientation_left_to_apply_again() -> None:
    found = decode(turned(photo(), 6, "JPEG"), MAX_PIXELS)
    assert ImageOps.exif_transpose(found).size == found.size
    assert found.getexif().get(0x0112, 1) == 1


def test_the_photos_of_all_orientations_are_upright(data_dir: Path) -> None:
    folder = data_dir / "images" / "orientation"
    for shape, size in (("Landscape", (1800, 1200)), ("Portrait", (1200, 1800))):
        small = []
        for number in range(9):
            image = decode((folder / f"exif_{shape}_{number}.jpg").read_bytes(), MAX_PIXELS)
            assert image.size == size
            small.append(np.asarray(image.resize((24, 24)), dtype=float))
        for other in small[1:]:  # encoded apart, so nearly equal
            assert np.abs(other - small[1]).mean() < 8


# --- pictures that must not be confused --------------------------------------------------------


def test_equal_indices_under_different_palettes_are_two_pictures() -> None:
    rows = b"\0\0\1"
    one = png(3, 8, 2, 1, rows, chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])))
    other = png(3, 8, 2, 1, rows, chunk(b"PLTE", bytes([0, 0, 255, 255, 0, 0])))
    assert pixels(one) == [(255, 0, 0), (0, 0, 255)]
    assert pixels(other) == [(0, 0, 255), (255, 0, 0)]
    assert digest_of(one) != digest_of(other)


def test_equal_bytes_of_another_shape_are_another_picture() -> None:
    raw = bytes(range(48))
    one, other = Image.frombytes("RGB", (2, 8), raw), Image.frombytes("RGB", (8, 2), raw)
    assert one.tobytes() == other.tobytes()
    assert digest(one) != digest(other)
    assert digest_of(saved(one)) != digest_of(saved(other))


def test_two_jpegs_with_equal_first_kilobytes_are_two_pictures() -> None:
    one, other = (saved(photo(256, 256, seed), "JPEG", quality=90) for seed in (0, 1))
    padding = b"x" * 8192
    one, other = with_comment(one, padding), with_comment(other, padding)
    assert one[:4096] == other[:4096]
    assert digest_of(one) != digest_of(other)


@given(st.integers(0, 47), st.integers(0, 31), st.integers(0, 2), st.integers(1, 255))
def test_one_changed_value_of_one_pixel_changes_the_digest(
    x: int, y: int, channel: int, change: int
) -> None:
    values = np.asarray(photo()).copy()
    values[y, x, channel] ^= change
    assert digest(Image.fromarray(values)) != digest(photo())


def test_equal_pixels_have_equal_digests_in_every_lossless_format() -> None:
    files = [
        saved(photo(), "PNG"),
        saved(photo(), "PNG", compress_level=0, dpi=(300, 300)),
        saved(photo(), "BMP"),
        saved(photo(), "TIFF"),
        saved(photo(), "TIFF", compression="tiff_lzw"),
        saved(photo(), "PPM"),
        saved(photo(), "WEBP", lossless=True),
    ]
    assert len({digest_of(file) for file in files}) == 1


def test_a_jpeg_with_another_comment_has_the_same_digest() -> None:
    data = saved(photo(), "JPEG")
    assert digest_of(with_comment(data, b"hello")) == digest_of(data)


def test_the_digest_is_that_of_the_ppm_file() -> None:
    image = photo(61, 37)
    expected = hashlib.sha256(b"P6\n61 37\n255\n" + image.tobytes()).hexdigest()
    assert digest(image) == expected
    assert digest(image) == hashlib.sha256(saved(image, "PPM")).hexdigest()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 31, 33, 1023, 4097])
def test_the_digest_of_any_width_has_no_padding_in_it(width: int) -> None:
    image = photo(width, 3)
    assert digest(image) == hashlib.sha256(b"P6\n%d 3\n255\n" % width + image.tobytes()).hexdigest()


def test_only_canonical_pictures_have_a_digest() -> None:
    for mode in ("RGBA", "L", "P", "CMYK", "1"):
        with pytest.raises(ValueError, match="not canonical"):
            digest(Image.new(mode, (2, 2)))


def test_a_big_picture_is_hashed_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (6000, 4000), "red")
    expected = digest(image)
    pieces: list[int] = []

    class Counting(images._Hasher):
        def __init__(self, prefix: bytes) -> None:
            super().__init__(prefix)
            hash_it = self.write

            def write(data: bytes) -> None:
                pieces.append(len(data))
                hash_it(data)

            self.write = write

    monkeypatch.setattr(images, "_Hasher", Counting)
    assert digest(image) == expected
    assert sum(pieces) == 6000 * 4000 * 3 + len("P6\n6000 4000\n255\n")
    assert max(pieces) < 2**20


# --- modes -------------------------------------------------------------------------------------


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    clear = Image.new("RGBA", (1, 1), (9, 9, 9, 0))
    full = Image.new("RGBA", (1, 1), (9, 9, 9, 255))
    assert pixels(saved(half)) == [(127, 127, 127)]
    assert pixels(saved(clear)) == [(255, 255, 255)]
    assert pixels(saved(full)) == [(9, 9, 9)]
    assert pixels(saved(Image.new("LA", (1, 1), (0, 128)))) == [(127, 127, 127)]
    assert pixels(saved(clear, "WEBP", lossless=True, exact=True)) == [(255, 255, 255)]
    assert pixels(saved(clear, "TIFF")) == [(255, 255, 255)]


TRANSPARENT = {
    "grey": png(0, 8, 2, 1, b"\0\x0a\xc8", chunk(b"tRNS", b"\0\x0a")),
    "16-bit grey": png(0, 16, 2, 1, b"\0\x0a\0\xc8\xc8", chunk(b"tRNS", b"\x0a\0")),
    "colour": png(2, 8, 2, 1, b"\0\n\n\n\xc8\xc8\xc8", chunk(b"tRNS", b"\0\n\0\n\0\n")),
    "palette": png(
        3, 8, 2, 1, b"\0\0\1", chunk(b"PLTE", b"\n\n\n\xc8\xc8\xc8"), chunk(b"tRNS", b"\0")
    ),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_the_transparent_colour_of_a_png_becomes_white(kind: str) -> None:
    assert pixels(TRANSPARENT[kind]) == [(255, 255, 255), (200, 200, 200)]


def test_a_half_transparent_palette_is_laid_on_white() -> None:
    palette = chunk(b"PLTE", b"\n\n\n\xc8\xc8\xc8"), chunk(b"tRNS", b"\x80\xff")
    first, second = pixels(png(3, 8, 2, 1, b"\0\0\1", *palette))
    assert abs(first[0] - 132) <= 1
    assert second == (200, 200, 200)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    values = range(65536)
    rows = b"".join(
        b"\0" + b"".join(v.to_bytes(2, "big") for v in values[y * 256 : y * 256 + 256])
        for y in range(256)
    )
    found = pixels(png(0, 16, 256, 256, rows))
    assert [p[0] for p in found] == [(v + 128) // 257 for v in values]


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_tiffs_are_scaled_in_either_byte_order(mode: str) -> None:
    order = "big" if mode.endswith("B") else "little"
    raw = b"".join(v.to_bytes(2, order) for v in (0, 257, 32768, 65535))  # type: ignore[arg-type]
    found = pixels(saved(Image.frombytes(mode, (4, 1), raw), "TIFF"))
    assert [p[0] for p in found] == [0, 1, 128, 255]


def test_32_bit_greys_beyond_16_bits_are_white_and_below_zero_black() -> None:
    image = Image.new("I", (3, 1))
    for x, value in enumerate((-5, 2**31 - 1, 257 * 100)):
        image.putpixel((x, 0), value)
    assert [p[0] for p in pixels(saved(image, "TIFF"))] == [0, 255, 100]


def test_float_tiffs_are_read_as_0_to_255() -> None:
    image = Image.new("F", (4, 1))
    for x, value in enumerate((-3.0, 0.0, 100.4, 1e9)):
        image.putpixel((x, 0), value)
    assert [p[0] for p in pixels(saved(image, "TIFF"))] == [0, 0, 100, 255]


def test_one_bit_grey_and_cmyk_become_rgb() -> None:
    assert pixels(saved(Image.new("1", (1, 1), 1))) == [(255, 255, 255)]
    assert pixels(saved(Image.new("1", (1, 1), 0))) == [(0, 0, 0)]
    assert pixels(saved(Image.new("L", (1, 1), 77))) == [(77, 77, 77)]
    assert pixels(saved(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF")) == [(255, 0, 0)]
    (red,) = set(pixels(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)))
    assert red[0] > 240
    assert max(red[1:]) < 15


def test_a_picture_is_not_left_in_a_decoders_own_mode() -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"):
        image = canonicalise(Image.new(mode, (4, 3)))
        assert (image.mode, image.size) == ("RGB", (4, 3))
        assert not image.readonly


# --- colour profiles ---------------------------------------------------------------------------


def profile(space: Literal["LAB", "sRGB"]) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


def swapped_primaries() -> bytes:
    """A profile that is called sRGB, with the red and green primaries exchanged."""
    data = bytearray(profile("sRGB"))
    tags = {}
    for number in range(int.from_bytes(data[128:132], "big")):
        start = 132 + 12 * number
        tags[bytes(data[start : start + 4])] = start + 4
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data)


def renamed(data: bytes) -> bytes:
    """The same profile by another name."""
    data = data.replace(b"\0s\0R\0G\0B", b"\0x\0y\0G\0B").replace(b"sRGB b", b"xyGB b")
    assert "sRGB" not in called(data)
    return data


def called(data: bytes) -> str:
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data)))


def foreign_profile() -> bytes:
    return renamed(swapped_primaries())


def test_a_profile_of_another_colour_space_is_applied() -> None:
    plain, tagged = saved(photo()), saved(photo(), icc_profile=foreign_profile())
    before, after = decode(plain, MAX_PIXELS), decode(tagged, MAX_PIXELS)
    assert digest(before) != digest(after)
    red, green, _ = before.split()
    swapped = np.asarray(after, dtype=int)
    assert np.abs(swapped[..., 0] - np.asarray(green, dtype=int)).max() <= 3
    assert np.abs(swapped[..., 1] - np.asarray(red, dtype=int)).max() <= 3


def test_an_srgb_profile_of_any_name_changes_nothing() -> None:
    tagged = saved(photo(), icc_profile=renamed(profile("sRGB")))
    assert digest_of(tagged) == digest_of(saved(photo()))


def test_a_foreign_profile_that_is_called_srgb_is_applied() -> None:
    assert "sRGB" in called(swapped_primaries())
    tagged, plain = (
        saved(photo(), icc_profile=made) for made in (swapped_primaries(), foreign_profile())
    )
    assert digest_of(tagged) == digest_of(plain) != digest_of(saved(photo()))


def test_an_srgb_profile_changes_nothing() -> None:
    assert digest_of(saved(photo(), icc_profile=profile("sRGB"))) == digest_of(saved(photo()))


@pytest.mark.parametrize("damaged", [b"", b"x", b"\0" * 200, b"acsp" * 60])
def test_a_damaged_profile_is_ignored(damaged: bytes) -> None:
    assert digest_of(saved(photo(), icc_profile=damaged)) == digest_of(saved(photo()))


def test_a_truncated_or_ill_fitting_profile_is_ignored(
    repetitions: Callable[[int], int],
) -> None:
    whole = foreign_profile()
    for end in random.Random(1).sample(range(len(whole)), repetitions(100)):
        assert decode(saved(photo(), icc_profile=whole[:end]), MAX_PIXELS).mode == "RGB"
    assert digest_of(saved(photo(), icc_profile=profile("LAB"))) == digest_of(saved(photo()))


def test_a_grey_profile_is_applied_to_a_grey_picture() -> None:
    grey = Image.linear_gradient("L").resize((32, 32))
    tagged = saved(grey, icc_profile=grey_profile(gamma=1.0))
    found = np.asarray(decode(tagged, MAX_PIXELS), dtype=float)
    linear = np.asarray(grey, dtype=float) / 255  # IEC 61966-2-1: linear light to sRGB
    wanted = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    bright = linear > 0.125  # darker, LittleCMS interpolates coarsely
    assert np.abs(found - 255 * wanted[..., None])[bright].max() <= 2
    assert digest_of(tagged) != digest_of(saved(grey))


def test_a_grey_profile_is_applied_under_transparency_too() -> None:
    dark = Image.new("LA", (4, 4), (64, 255))
    with_profile = pixels(saved(dark, icc_profile=grey_profile(gamma=1.0)))
    assert set(with_profile) == set(
        pixels(saved(dark.convert("L"), icc_profile=grey_profile(gamma=1.0)))
    )
    assert with_profile[0][0] > 130


def test_a_colour_profile_on_a_grey_picture_keeps_it_grey() -> None:
    found = pixels(saved(photo().convert("L"), icc_profile=profile("sRGB")))
    assert found == pixels(saved(photo().convert("L")))


# --- animations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_an_animation_shows_its_first_frame_and_is_not_the_still(
    kind: str, options: dict[str, bool]
) -> None:
    frames = [
        photo(seed=seed).convert("P") if kind == "GIF" else photo(seed=seed) for seed in (1, 2)
    ]
    still = saved(frames[0], kind, **options)
    moving = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    one, other = decode(still, MAX_PIXELS), decode(moving, MAX_PIXELS)
    assert one.tobytes() == other.tobytes()
    assert (one.info["frames"], other.info["frames"]) == (1, 2)
    assert digest(one) != digest(other)


def test_animations_that_share_their_first_frame_share_a_digest_that_says_so() -> None:
    """The model gets the first frame only, so its answer is the same; a still stays apart."""
    first = photo(seed=1)
    films = [saved(first, save_all=True, append_images=[photo(seed=n)]) for n in (2, 3)]
    assert films[0] != films[1]
    one, other = (decode(film, MAX_PIXELS) for film in films)
    assert one.tobytes() == other.tobytes() == first.tobytes()
    still = hashlib.sha256(saved(first, "PPM")).hexdigest()
    moving = hashlib.sha256(b"first frame\n" + saved(first, "PPM")).hexdigest()
    assert digest(one) == digest(other) == moving != still


def test_the_animations_of_the_odd_folder_share_a_digest_only_with_equal_first_frames(
    data_dir: Path,
) -> None:
    by_digest: dict[str, set[bytes]] = {}
    films = 0
    for path in sorted((data_dir / "images" / "odd").iterdir()):
        with contextlib.suppress(InvalidPicture):
            found = decode(path.read_bytes(), MAX_PIXELS)
            films += found.info["frames"] > 1
            seen = by_digest.setdefault(digest(found), set())
            seen.add(b"%d %d %d " % (*found.size, found.info["frames"] > 1) + found.tobytes())
    assert films > 50
    assert all(len(pictures) == 1 for pictures in by_digest.values())


def test_a_photo_with_a_preview_behind_it_is_a_still() -> None:
    """MPO: cameras put a second eye or a gain map behind the JPEG that viewers show."""
    both = saved(photo(), "MPO", save_all=True, append_images=[photo(seed=1)])
    with Image.open(io.BytesIO(both)) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    found = decode(both, MAX_PIXELS)
    assert found.info["frames"] == 1
    assert digest(found) == digest_of(saved(photo(), "JPEG"))


# --- HEIC --------------------------------------------------------------------------------------


def test_the_primary_picture_of_a_heic_is_shown_wherever_it_lies() -> None:
    pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed")
    first, second = photo(64, 48, seed=1), photo(64, 48, seed=2)
    both = saved(first, "HEIF", save_all=True, append_images=[second], primary_index=1)
    found = decode(both, MAX_PIXELS)
    assert found.info["frames"] == 1
    assert digest(found) == digest_of(saved(second, "HEIF"))
    assert digest(found) != digest_of(saved(first, "HEIF"))


def test_a_heic_without_the_extra_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats, "FORMATS", tuple(kind for kind in FORMATS if kind != "HEIF"))
    for brand in (b"heic", b"heix", b"mif1"):
        data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(64)
        with pytest.raises(InvalidPicture, match=r"pip install 'qwen-ui\[heic\]'"):
            decode(data, MAX_PIXELS)
    assert decode(saved(photo(), "AVIF"), MAX_PIXELS).size == photo().size


def test_the_bytes_of_a_file_decide_its_kind() -> None:
    """Phones send HEIC as image/jpeg and `.jpg`; nothing here is told a name or a MIME type."""
    assert formats.looks_like_heic(b"\0\0\0\x18ftypheic")
    for other in (b"", b"ftypheic", saved(photo(), "JPEG"), saved(photo(), "AVIF")):
        assert not formats.looks_like_heic(other)


def test_the_remembered_digests_name_every_decoder() -> None:
    named = images.DECODERS.split("/")
    assert named[0] == str(images.VERSION)
    assert named[1] == PIL.__version__
    for library in ("libjpeg_turbo", "webp", "avif", "libtiff", "littlecms2"):
        assert str(features.version(library)) in named


def test_the_first_frame_is_shown_when_another_was_read_before() -> None:
    frames = [photo(seed=seed) for seed in (1, 2)]
    moving = Image.open(io.BytesIO(saved(frames[0], save_all=True, append_images=frames[1:])))
    moving.seek(1)
    assert canonicalise(moving).tobytes() == frames[0].tobytes()


# --- files that are refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello, this is a text file\n" * 100,
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        b"%PDF-1.4\n%%EOF\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"<?xml version='1.0'?><svg/>",
        b"PK\3\4" + bytes(100),
        b"8BPS" + bytes(100),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidPicture):
        decode(data, MAX_PIXELS)


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "PCX", "TGA", "SGI", "PALM", "IM"])
def test_formats_beyond_the_list_are_not_opened(kind: str) -> None:
    assert kind not in FORMATS
    image = photo().convert("P") if kind == "PALM" else photo()
    with pytest.raises(InvalidPicture):
        decode(saved(image, kind), MAX_PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_every_format_of_the_list_is_opened_and_refused_when_cut(kind: str) -> None:
    data = saved(photo(64, 64), kind)
    assert decode(data, MAX_PIXELS).size == (64, 64)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(InvalidPicture):
            decode(data[: int(len(data) * share)], MAX_PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_flipped_bytes_give_a_picture_or_a_refusal(
    kind: str, repetitions: Callable[[int], int]
) -> None:
    chance = random.Random(kind)
    data = saved(photo(40, 24), kind)
    for _ in range(repetitions(1500)):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            image = decode(bytes(damaged), 2**20)
        except InvalidPicture:
            continue
        assert image.mode == "RGB"


@given(
    st.binary(max_size=100), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"II*\0", b"BM", b"P6 "])
)
def test_random_bytes_are_refused_and_nothing_else_is_raised(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(InvalidPicture):
        assert decode(head + tail, MAX_PIXELS).mode == "RGB"


def test_a_picture_beyond_the_limit_is_refused_before_a_pixel_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    files = [saved(photo(100, 101), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    for data in files:
        with pytest.raises(PictureTooLarge) as caught:
            decode(data, 100 * 100)
        assert (caught.value.width, caught.value.height) == (100, 101)
        with pytest.raises(InvalidPicture, match="decoded"):
            decode(data, 100 * 101)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_600, 14_000, 60_000])
def test_a_header_that_announces_a_bomb_is_refused(side: int) -> None:
    data = png(2, 8, side, side, b"\0" * 1000)
    with pytest.raises(PictureTooLarge, match="pixels"):
        decode(data, 2**26)


@pytest.mark.parametrize("side", [9_600, 14_000])
def test_pillows_own_size_warning_is_a_refusal_where_warnings_are_errors(side: int) -> None:
    with pytest.raises(PictureTooLarge):
        decode(png(2, 8, side, side, b"\0" * 1000), 2**26)


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = zlib.compressobj(9)
    packed = b"".join(bomb.compress(bytes(2**20)) for _ in range(70)) + bomb.flush()
    text = chunk(b"zTXt", b"comment\0\0" + packed)
    with pytest.raises(InvalidPicture):
        decode(png(0, 8, 1, 1, b"\0\0", text), MAX_PIXELS)


# --- the folder of odd files -------------------------------------------------------------------


def test_every_odd_file_is_a_picture_or_a_refusal(data_dir: Path) -> None:
    refused = set()
    for path in sorted((data_dir / "images" / "odd").iterdir()):
        try:
            image = decode(path.read_bytes(), MAX_PIXELS)
        except InvalidPicture:
            refused.add(path.name)
            continue
        assert image.mode == "RGB"
        assert len(digest(image)) == 64
    assert refused == {"broken_data_stream.png", "chunk_no_fctl.png", "truncated_jpeg.jpg"}


def test_equal_pixels_in_two_formats_of_the_odd_folder_have_one_digest(data_dir: Path) -> None:
    folder = data_dir / "images" / "odd"
    assert digest_of((folder / "hopper.bmp").read_bytes()) == digest_of(
        (folder / "hopper.png").read_bytes()
    )


@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_the_turned_portraits_of_the_odd_folder_are_upright(
    data_dir: Path, number: int, kind: str
) -> None:
    folder = data_dir / "images" / "odd"
    found = decode((folder / f"hopper_orientation_{number}.{kind}").read_bytes(), MAX_PIXELS)
    wanted = Image.open(folder / "hopper.ppm").convert("RGB")
    assert found.size == wanted.size
    near = np.abs(np.asarray(found, dtype=float) - np.asarray(wanted, dtype=float)).mean()
    assert near < 12


def test_every_picture_of_the_data_is_decoded_the_same_way_twice(data_dir: Path) -> None:
    folder = data_dir / "images"
    seen = 0
    for path in sorted(folder.rglob("*.*")):
        data = path.read_bytes()
        with contextlib.suppress(InvalidPicture):
            found = decode(data, 2**26)
            assert (found.mode, digest(found)) == ("RGB", digest_of(data))
            assert digest_of(saved(found, compress_level=1)) == digest(_as_still(found))
            seen += 1
    assert seen == 142


def _as_still(image: Image.Image) -> Image.Image:
    image.info["frames"] = 1
    return image


# --- threads -----------------------------------------------------------------------------------


def test_many_threads_decode_to_the_same_digest(repetitions: Callable[[int], int]) -> None:
    files = [saved(photo(seed=n), kind) for n in range(3) for kind in ("JPEG", "PNG", "WEBP")]
    expected = [digest_of(file) for file in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(repetitions(50)):
            assert list(pool.map(digest_of, files)) == expected
