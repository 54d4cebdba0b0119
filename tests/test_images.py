"""From a file to a picture: limits first, one decode per file ever, and never other pixels."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image as PILImage

from cache_store import images as canonical
from cache_store.database import Database
from cache_store.memo import DigestMemo, Remembered
from qwen_ui.errors import (
    BadPicture,
    FileTooBig,
    GenerationFailed,
    PictureGone,
    PictureNarrow,
    PictureTooBig,
    PictureVast,
)
from qwen_ui.images import ImageOpener
from qwen_ui.media import MediaStore
from tests.pictures import photo, png, saved, turned, with_comment


class Rig:
    def __init__(self, directory: Path, max_bytes: int = 2**20, max_pixels: int = 2**20) -> None:
        self.database = Database(directory / "meta")
        self.memo = DigestMemo(self.database)
        self.media = MediaStore(directory / "media", 2**22, 3600)
        self.opener = ImageOpener(self.memo, self.media, max_bytes=max_bytes, max_pixels=max_pixels)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.database.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each decode."""
    calls: list[int] = []
    real: Callable[[bytes, int], PILImage.Image] = canonical.decode

    def counting(data: bytes, max_pixels: int) -> PILImage.Image:
        calls.append(len(data))
        return real(data, max_pixels)

    monkeypatch.setattr(canonical, "decode", counting)
    return calls


def test_an_opened_picture_has_the_digest_and_size_of_its_upright_pixels(rig: Rig) -> None:
    picture = rig.opener.open(turned(photo(), 6), "photo.png")
    assert (picture.image.width, picture.image.height) == photo().size
    assert picture.image.digest == canonical.digest(photo())
    assert (picture.name, picture.frames) == ("photo.png", 1)
    pixels = picture.image.load()
    assert canonical.digest(pixels) == picture.image.digest
    assert pixels.size == photo().size
    with PILImage.open(picture.thumbnail) as small:
        assert small.size == photo().size


def test_a_repeated_upload_is_not_decoded_again(rig: Rig, decoded: list[int]) -> None:
    data = saved(photo(), "JPEG")
    first = rig.opener.open(data, "a")
    for _ in range(3):
        assert rig.opener.open(data, "b").image == first.image
    assert len(decoded) == 1


def test_a_repeated_upload_is_not_decoded_after_a_restart(
    tmp_path: Path, decoded: list[int]
) -> None:
    data = saved(photo(), "JPEG")
    rig = Rig(tmp_path)
    first = rig.opener.open(data, "a")
    rig.database.close()
    rig = Rig(tmp_path)
    assert rig.opener.open(data, "a").image == first.image
    assert len(decoded) == 1
    rig.database.close()


def test_other_bytes_with_equal_pixels_are_decoded_and_have_the_same_digest(
    rig: Rig, decoded: list[int]
) -> None:
    data = saved(photo(), "JPEG")
    first, second = rig.opener.open(data, "a"), rig.opener.open(with_comment(data, b"x"), "b")
    assert first.image == second.image
    assert first.id != second.id
    assert len(decoded) == 2


def test_a_file_over_the_byte_limit_is_refused_before_anything_is_read(
    tmp_path: Path, decoded: list[int]
) -> None:
    data = saved(photo(), "BMP")
    rig = Rig(tmp_path, max_bytes=len(data) - 1)
    with pytest.raises(FileTooBig, match=r"holiday\.bmp"):
        rig.opener.open(data, "holiday.bmp")
    assert decoded == []
    assert Rig(tmp_path, max_bytes=len(data)).opener.open(data, "x").id


def test_a_picture_over_the_pixel_limit_is_refused_with_its_size(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_pixels=48 * 32 - 1)
    with pytest.raises(PictureTooBig, match="48 x 32"):
        rig.opener.open(saved(photo()), "a")
    rig.database.close()


def test_a_lowered_pixel_limit_refuses_what_was_remembered(tmp_path: Path) -> None:
    data = saved(photo())
    Rig(tmp_path).opener.open(data, "a")
    with pytest.raises(PictureTooBig, match="48 x 32"):
        Rig(tmp_path, max_pixels=1000).opener.open(data, "a")


def test_a_picture_that_no_model_takes_is_refused_in_words(rig: Rig) -> None:
    with pytest.raises(PictureNarrow, match="is too narrow"):
        rig.opener.open(saved(photo(2010, 10)), "a.png")
    assert rig.opener.open(saved(photo(2000, 10)), "a.png").image.width == 2000


def test_a_bomb_is_refused_in_words(rig: Rig) -> None:
    with pytest.raises(PictureVast, match="far too big") as caught:
        rig.opener.open(png(2, 8, 60_000, 60_000, b"\0"), "bomb.png")
    assert "0 x 0" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"text", saved(photo(), "JPEG")[:400]])
def test_what_cannot_be_read_is_refused_and_not_kept(rig: Rig, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match=r"notes\.txt"):
        rig.opener.open(data, "notes.txt")
    assert [path for path in (tmp_path / "media").rglob("*") if path.is_file()] == []


def test_a_picture_that_cannot_be_kept_is_a_clear_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GenerationFailed, match="No space left"):
        rig.opener.open(saved(photo()), "a")


def test_pixels_that_are_gone_are_said_to_be_gone(rig: Rig, tmp_path: Path) -> None:
    picture = rig.opener.open(saved(photo()), "a")
    (tmp_path / "media" / "originals" / picture.image.digest).unlink()
    with pytest.raises(PictureGone):
        picture.image.load()


def test_a_file_that_was_changed_behind_our_back_is_not_answered(rig: Rig, tmp_path: Path) -> None:
    picture = rig.opener.open(saved(photo()), "a")
    (tmp_path / "media" / "originals" / picture.image.digest).write_bytes(saved(photo(seed=1)))
    with pytest.raises(GenerationFailed):
        picture.image.load()


def test_other_bytes_of_a_known_picture_are_not_kept_beside_it(rig: Rig, tmp_path: Path) -> None:
    data = saved(photo(), "JPEG")
    rig.opener.open(data, "a")
    second = rig.opener.open(with_comment(data, b"x"), "b")
    assert len(list((tmp_path / "media" / "originals").iterdir())) == 1
    assert canonical.digest(second.image.load()) == second.image.digest


def test_what_lay_under_a_wrong_digest_is_not_in_the_way_of_its_own_picture(rig: Rig) -> None:
    other, data = saved(photo(seed=1)), saved(photo())
    true_id = hashlib.sha256(data).hexdigest()
    rig.memo.put(true_id, Remembered(canonical.digest(photo(seed=1)), 48, 32, 1))
    rig.media.make_thumbnail(canonical.digest(photo(seed=1)), photo(seed=1))
    with pytest.raises(GenerationFailed, match="ask again"):
        rig.opener.open(data, "a").image.load()
    right = rig.opener.open(other, "b").image
    assert right.load().tobytes() == photo(seed=1).tobytes()
    assert rig.opener.open(data, "a").image.digest == canonical.digest(photo())


def test_a_wrongly_remembered_digest_is_found_out_on_loading_and_put_right(rig: Rig) -> None:
    data = saved(photo())
    right = rig.opener.open(data, "a")
    rig.memo.put(right.id, Remembered("0" * 64, 48, 32, 1))
    rig.media.make_thumbnail("0" * 64, photo())  # else it would be decoded, and put right, at once
    wrong = rig.opener.open(data, "a")
    with pytest.raises(GenerationFailed, match="ask again"):
        wrong.image.load()
    assert rig.opener.open(data, "a").image == right.image


def test_a_lost_thumbnail_is_made_again(rig: Rig, decoded: list[int]) -> None:
    data = saved(photo())
    rig.opener.open(data, "a").thumbnail.unlink()
    assert rig.opener.open(data, "a").thumbnail.exists()
    assert len(decoded) == 2


def test_other_bytes_of_a_known_picture_find_its_thumbnail(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(photo(), "JPEG")
    first = rig.opener.open(data, "a")

    def make(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(rig.media, "make_thumbnail", make)
    assert rig.opener.open(with_comment(data, b"x"), "b").thumbnail == first.thumbnail


def test_a_thumbnail_that_went_is_made_again_by_whichever_bytes_come_first(
    tmp_path: Path, rig: Rig
) -> None:
    data = saved(photo(), "JPEG")
    other = with_comment(data, b"x")
    path = rig.opener.open(data, "a").thumbnail
    rig.opener.open(other, "b")
    path.unlink()
    assert rig.opener.open(other, "b").thumbnail.exists()
    path.unlink()
    restarted = Rig(tmp_path)
    assert restarted.opener.open(data, "a").thumbnail.exists()
    restarted.database.close()


def test_an_animation_tells_its_frames(rig: Rig) -> None:
    frames = [photo(seed=seed) for seed in range(3)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    for _ in range(2):
        picture = rig.opener.open(data, "a")
        assert picture.frames == 3
        assert picture.image.load().tobytes() == frames[0].tobytes()


def test_many_threads_may_open_the_same_file(rig: Rig) -> None:
    data = saved(photo(), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda _: rig.opener.open(data, "a"), range(24)))
    assert {picture.image.digest for picture in pictures} == {pictures[0].image.digest}


def files(directory: Path) -> list[str]:
    return sorted(p.stem for p in (directory / "media").rglob("*") if p.is_file())


def test_clearing_leaves_only_pictures_that_somebody_still_has(rig: Rig, tmp_path: Path) -> None:
    shown = rig.opener.open(saved(photo()), "a")
    rig.opener.open(saved(photo(seed=1)), "b")
    rig.media.clear()
    assert files(tmp_path) == [shown.image.digest] * 2  # the original and the thumbnail
    assert canonical.digest(shown.image.load()) == shown.image.digest
    del shown
    rig.media.clear()
    assert files(tmp_path) == []


def test_the_same_picture_twice_is_kept_until_the_last_of_both_is_gone(
    rig: Rig, tmp_path: Path
) -> None:
    first, second = (rig.opener.open(saved(photo()), name) for name in "ab")
    del first
    rig.media.clear()
    assert files(tmp_path) == [second.image.digest] * 2
