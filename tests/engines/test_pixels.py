"""What is hashed is what is run: the picture is taken back out of the model's own input.

The real processor of the demo model makes `pixel_values`; here they are turned back into a
picture, whose digest must be the digest in the key.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from PIL import ImageOps
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from cache_store import images
from cache_store.database import Database
from cache_store.memo import DigestMemo
from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.features import pixels_of
from qwen_ui.engines.processor import PictureProcessor, load_processor
from qwen_ui.engines.prompt import build_prompt
from qwen_ui.images import ImageOpener
from qwen_ui.media import MediaStore
from qwen_ui.types import Message, Picture
from tests.pictures import chunk, photo, png, saved, turned

SIZE = (160, 128)  # whole patches, between the demo model's limits: nothing is resized


@pytest.fixture(scope="module")
def processor() -> PictureProcessor:
    return load_processor(VARIANTS["demo"])


@pytest.fixture(scope="module")
def shell() -> Qwen3VLForConditionalGeneration:
    """The model without weights: only its positions are asked for."""
    with torch.device("meta"):
        return Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(str(VARIANTS["demo"])))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], Picture]]:
    database = Database(tmp_path / "meta")
    media = MediaStore(tmp_path / "media", 2**24, 3600)
    opener = ImageOpener(DigestMemo(database), media, max_bytes=2**24, max_pixels=2**24)
    yield lambda data: opener.open(data, "picture")
    database.close()


@pytest.fixture
def model_input(
    processor: PictureProcessor, shell: Qwen3VLForConditionalGeneration
) -> Callable[[Picture], np.ndarray]:
    def prepare(picture: Picture) -> np.ndarray:
        asked = (Message("user", (picture.image, "What is this?")),)
        span = build_prompt(asked, processor, shell, 10_000).pictures[0]
        return pixels_of(span, processor, None).numpy()

    return prepare


def picture_of(values: np.ndarray, width: int, height: int) -> PILImage.Image:
    """The inverse of patching and normalising (patch 16, merged 2 by 2, two equal frames)."""
    rows, columns = height // 32, width // 32
    patches = values.reshape(rows, columns, 2, 2, 3, 2, 16, 16)
    assert (patches[..., 0, :, :] == patches[..., 1, :, :]).all()
    pixels = patches[..., 0, :, :].transpose(0, 2, 5, 1, 3, 6, 4).reshape(height, width, 3)
    exact = (pixels.astype(np.float64) * 0.5 + 0.5) * 255
    assert np.abs(exact - exact.round()).max() < 1e-3
    return PILImage.fromarray(exact.round().astype(np.uint8))


def palette_png() -> bytes:
    colours = bytes(range(256)) + bytes(reversed(range(256))) + bytes(range(256))
    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(SIZE[0])) for y in range(SIZE[1]))
    return png(3, 8, *SIZE, rows, chunk(b"PLTE", colours))


def files() -> dict[str, bytes]:
    image = photo(*SIZE)
    clear = image.copy()
    clear.putalpha(PILImage.linear_gradient("L").resize(SIZE))
    sixteen = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]) * 3
    return {
        "JPEG": saved(image, "JPEG"),
        "JPEG on its side": turned(image, 6, "JPEG"),
        "PNG mirrored": turned(image, 5, "PNG"),
        "alpha": saved(clear),
        "palette": palette_png(),
        "CMYK": saved(image.convert("CMYK"), "TIFF"),
        "grey": saved(image.convert("L")),
        "16 bits": saved(PILImage.fromarray(sixteen)),
        "animation": saved(image, save_all=True, append_images=[photo(*SIZE, seed=1)]),
        "AVIF": saved(image, "AVIF"),
    }


@pytest.mark.parametrize("kind", files())
def test_the_picture_inside_the_models_input_has_the_digest_of_the_key(
    kind: str,
    opened: Callable[[bytes], Picture],
    model_input: Callable[[Picture], np.ndarray],
) -> None:
    picture = opened(files()[kind])
    seen = picture_of(model_input(picture), *SIZE)
    seen.info["frames"] = picture.frames
    assert images.digest(seen) == picture.image.digest


@pytest.mark.parametrize("kind", ["JPEG", "JPEG on its side", "PNG mirrored", "CMYK", "AVIF"])
def test_the_models_input_equals_that_of_independently_decoded_pixels(
    kind: str,
    opened: Callable[[bytes], Picture],
    model_input: Callable[[Picture], np.ndarray],
    processor: PictureProcessor,
) -> None:
    """Pillow's own way to turn and convert, without anything of ours."""
    data = files()[kind]
    plain = ImageOps.exif_transpose(PILImage.open(io.BytesIO(data))).convert("RGB")
    wanted = processor.image_processor(plain, return_tensors="np")["pixel_values"]
    assert np.array_equal(model_input(opened(data)), wanted)


@pytest.mark.parametrize("change", [1, 128])
def test_one_changed_pixel_changes_the_digest_and_the_models_input(
    change: int,
    opened: Callable[[bytes], Picture],
    model_input: Callable[[Picture], np.ndarray],
) -> None:
    values = np.asarray(photo(*SIZE)).copy()
    values[100, 7, 1] ^= change
    one, other = opened(saved(photo(*SIZE))), opened(saved(PILImage.fromarray(values)))
    assert one.image.digest != other.image.digest
    assert (model_input(one) != model_input(other)).sum() == 2  # one value, in two equal frames
