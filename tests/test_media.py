"""Uploaded pictures: bounded, and whole or gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen_ui.media import MediaStore
from tests.pictures import photo


def kept(media: MediaStore, ids: str) -> str:
    return "".join(id for id in ids if media._originals.joinpath(id).exists())


def age(media: MediaStore, id: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(media._originals / id, (then, then))


def test_what_was_put_is_got(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"12345")
    assert media.get("a") == b"12345"
    assert media.get("b") is None
    assert MediaStore(tmp_path, 1000, 60).get("a") == b"12345"


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 30, 60)
    for id in "abc":
        media.put(id, b"x" * 10)
    media.get("a")
    media.put("b", b"x" * 10)  # uploaded again
    media.put("d", b"x" * 10)
    assert kept(media, "abcd") == "abd"


def test_the_order_of_use_is_kept_over_a_restart(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 30, 600)
    for number, id in enumerate("abc"):
        media.put(id, b"x" * 10)
        age(media, id, 100 - number)
    media.get("a")
    media = MediaStore(tmp_path, 30, 600)
    media.put("d", b"x" * 10)
    assert kept(media, "abcd") == "acd"


def test_the_budget_holds_over_many_puts_and_after_it_was_lowered(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 600)
    for number in range(50):
        media.put(str(number), b"x" * (number * 13 % 200 + 1))
        total = sum(path.stat().st_size for path in media._originals.iterdir())
        assert total == media._bytes <= 1000
    media = MediaStore(tmp_path, 300, 600)
    assert sum(path.stat().st_size for path in media._originals.iterdir()) <= 300


def test_the_newest_is_kept_even_when_it_alone_is_over_the_budget(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 10, 60)
    media.put("a", b"x" * 5)
    media.put("b", b"x" * 50)
    assert kept(media, "ab") == "b"
    assert media.get("b") == b"x" * 50


def test_a_picture_past_its_time_goes_with_its_thumbnail(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    for id in "ab":
        media.put(id, b"x")
        media.make_thumbnail(id, photo())
    age(media, "a", 61)
    media = MediaStore(tmp_path, 1000, 60)
    assert kept(media, "ab") == "b"
    assert media.thumbnail("a") is None
    assert media.thumbnail("b") is not None


def test_use_prolongs_a_pictures_time(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"x")
    age(media, "a", 59)
    media.get("a")
    assert (media._originals / "a").stat().st_mtime == pytest.approx(time.time(), abs=5)


def test_use_in_a_restarted_process_prolongs_it_as_well(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"x")
    age(media, "a", 59)
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"x")
    assert (media._originals / "a").stat().st_mtime == pytest.approx(time.time(), abs=5)


def test_a_file_that_another_process_removed_is_gone_and_can_come_back(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 1000, 60)
    media.put("a", b"12345")
    (media._originals / "a").unlink()
    assert media.get("a") is None
    media.put("a", b"12345")
    assert media.get("a") == b"12345"
    assert media._bytes == 5


def test_the_folders_are_private(tmp_path: Path) -> None:
    media = MediaStore(tmp_path / "media", 1000, 60)
    assert media._originals.stat().st_mode & 0o777 == 0o700
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


def test_many_threads_put_the_same_and_other_files(
    tmp_path: Path, repetitions: Callable[[int], int]
) -> None:
    media = MediaStore(tmp_path, 5000, 600)

    def work(number: int) -> None:
        for turn in range(repetitions(200)):
            id = str((number + turn) % 9)
            media.put(id, id.encode() * 700)
            assert media.get(id) in (None, id.encode() * 700)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not list(tmp_path.rglob("*.part"))
    media.put("last", b"x")
    on_disk = {path.name: path.stat().st_size for path in media._originals.iterdir()}
    assert dict(media._sizes) == on_disk
    assert sum(on_disk.values()) == media._bytes <= 5000


def test_many_threads_make_the_same_thumbnail(tmp_path: Path) -> None:
    media = MediaStore(tmp_path, 5000, 600)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: media.make_thumbnail("a", photo(600, 400)), range(16)))
    with Image.open(paths[0]) as small:
        small.load()
    assert [path.name for path in media.thumbnails.iterdir()] == ["a.jpg"]


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = MediaStore(tmp_path, 5000, 600)

    def fail(*_: object) -> None:
        raise OSError("broken")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        media.put("a", b"x")
    with pytest.raises(OSError, match="broken"):
        media.make_thumbnail("a", photo())
    monkeypatch.undo()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert media._bytes == 0
