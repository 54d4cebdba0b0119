"""Uploaded pictures and their thumbnails."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen_ui.media import MediaStore
from tests.pictures import photo


def test_what_was_put_is_got(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"12345")
    assert media.get("a") == b"12345"
    assert media.get("b") is None
    assert MediaStore(tmp_path, 1000, 60).get("a") == b"12345"


def test_an_original_is_written_once(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"12345")
    written = (tmp_path / "originals" / "a").stat().st_ino
    media.put("a", b"12345")
    assert (tmp_path / "originals" / "a").stat().st_ino == written


def test_originals_and_thumbnails_have_budgets_of_their_own(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 8000, 60)
    for seed in range(4):
        media.put(str(seed), b"x" * 2000)
        media.make_thumbnail(str(seed), noise(40, 30))
    assert all(media.get(str(seed)) for seed in range(4))
    sizes = [path.stat().st_size for path in media.thumbnails.iterdir()]
    assert sum(sizes) <= 1000 or len(sizes) == 1
    assert media.thumbnail("3") is not None


def test_pictures_past_their_time_go_with_their_thumbnails(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 10**6, 60)
    for id in "ab":
        media.put(id, b"x")
        media.make_thumbnail(id, photo())
    then = time.time() - 61
    for path in (tmp_path / "originals" / "a", tmp_path / "thumbnails" / "a.jpg"):
        os.utime(path, (then, then))
    media = MediaStore(tmp_path, 10**6, 60)
    assert (media.get("a"), media.thumbnail("a")) == (None, None)
    assert media.get("b")
    assert media.thumbnail("b")


def test_the_folders_are_private(tmp_path: Path) -> None:
    media = MediaStore(tmp_path / "media", 1000, 60)
    assert (tmp_path / "media" / "originals").stat().st_mode & 0o777 == 0o700
    assert media.thumbnails.stat().st_mode & 0o777 == 0o700


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "picture",
    [
        photo(1, 1),
        photo(384, 384),
        photo(513, 100),
        photo(3000, 2000),
        photo(4000, 3),
        photo(3, 4000),
        noise(384, 384),
        noise(511, 2000),
        noise(2000, 2000),
    ],
    ids=lambda picture: str(picture.size),
)
def test_a_thumbnail_is_small_and_keeps_its_shape(tmp_path: Path, picture: Image.Image) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    path = media.make_thumbnail("a", picture)
    assert path == media.thumbnail("a")
    assert path.stat().st_size <= 100_000
    with Image.open(path) as small:
        assert (small.format, small.mode) == ("JPEG", "RGB")
        assert max(small.size) <= 384
        assert max(small.size) == min(384, max(picture.size))
        wanted = min(picture.size) * max(small.size) / max(picture.size)
        assert abs(min(small.size) - max(1, wanted)) <= 1


def test_making_a_thumbnail_leaves_the_picture_as_it_was(tmp_path: Path) -> None:
    picture = photo(900, 700)
    before = picture.tobytes()
    MediaStore(tmp_path, 1000, 60).make_thumbnail("a", picture)
    assert picture.tobytes() == before
    assert picture.size == (900, 700)


def test_many_threads_make_the_same_thumbnail(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 10**6, 600)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: media.make_thumbnail("a", photo(600, 400)), range(16)))
    with Image.open(paths[0]) as small:
        small.load()
    assert [path.name for path in media.thumbnails.iterdir()] == ["a.jpg"]
