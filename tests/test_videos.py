"""From a file to a run of texts and frames: limits first, decoded once ever, never other pixels."""

from __future__ import annotations

import errno
import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from cache_store import images as canonical
from cache_store.database import Database
from cache_store.video_memo import VideoMemo
from qwen_ui import video_file, video_frames, videos
from qwen_ui.errors import BadRequest, FileTooBig, GenerationFailed, PictureGone
from qwen_ui.media import MediaStore
from qwen_ui.types import Frame, Video
from qwen_ui.video_errors import NoSuchPart, VideoNotSupported, VideoTooBig, VideoTooLong
from qwen_ui.videos import VideoLimits, VideoOpener
from tests.videos import grey, number_of, seconds_of_grey, video

LIMITS: dict[str, Any] = {
    "fps": 1.0,
    "frames": 4,
    "frame_pixels": 64 * 48,
    "max_bytes": 2**20,
    "max_pixels": 2**20,
    "max_s": 60.0,
}
FRAMES_BYTES = 4 * 64 * 48 * 3
FOUR_SECONDS = video()
LONG = video(seconds_of_grey(20))


class Rig:
    def __init__(self, directory: Path, **limits: Any) -> None:
        self.database = Database(directory / "meta")
        self.memo = VideoMemo(self.database)
        self.media = MediaStore(directory / "media", 2**22, 3600)
        self.opener = VideoOpener(
            self.memo, self.media, VideoLimits(**LIMITS | limits), kept_bytes=2 * FRAMES_BYTES
        )

    def restarted(self, directory: Path, **limits: Any) -> Rig:
        self.database.close()
        return Rig(directory, **limits)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.database.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each file that is decoded."""
    calls: list[str] = []
    real = video_frames.pictures_at

    def counting(file: video_file.VideoFile, *rest: Any) -> Iterator[PILImage.Image]:
        calls.append(file.name)
        return real(file, *rest)

    monkeypatch.setattr(videos, "pictures_at", counting)
    return calls


def frames(opened: Video) -> list[Frame]:
    return [part for part in opened.parts if isinstance(part, Frame)]


def stamps(opened: Video) -> list[str]:
    return [part for part in opened.parts if isinstance(part, str)]


def assert_frames_are_what_was_hashed(opened: Video) -> None:
    for frame in frames(opened):
        assert canonical.digest(frame.load()) == frame.digest


def test_a_video_is_a_time_and_a_frame_in_turn(rig: Rig) -> None:
    opened = rig.opener.open(FOUR_SECONDS, "a.mp4")
    assert opened.id == hashlib.sha256(FOUR_SECONDS).hexdigest()
    assert stamps(opened) == [f"<{n}.0 seconds>" for n in range(4)]
    assert opened.parts[1::2] == tuple(frames(opened))
    assert (opened.frames, opened.every_s, opened.length_s) == (4, 1.0, 4.0)
    for number, frame in enumerate(frames(opened)):
        pixels = frame.load()
        assert number_of(pixels) == frame.place == number
        assert canonical.digest(pixels) == frame.digest
        assert pixels.size == (frame.width, frame.height) == (64, 48)
    with PILImage.open(opened.thumbnail) as poster:
        assert number_of(poster) == 2  # of the middle


def test_a_long_video_has_as_many_frames_evenly_spread(rig: Rig) -> None:
    opened = rig.opener.open(LONG, "a.mp4")
    assert [number_of(frame.load()) for frame in frames(opened)] == [0, 5, 10, 15]
    assert opened.every_s == 5


def test_a_part_is_seen_at_its_own_times(rig: Rig) -> None:
    opened = rig.opener.open(LONG, "a.mp4", 10, 13)
    assert stamps(opened) == ["<10.0 seconds>", "<11.0 seconds>", "<12.0 seconds>"]
    assert [number_of(frame.load()) for frame in frames(opened)] == [10, 11, 12]
    assert (opened.start_s, opened.end_s, opened.length_s) == (10, 13, 20)
    assert rig.opener.open(LONG, "a.mp4", 18, 99).end_s == 20


def test_parts_that_overlap_share_the_digests_of_their_frames(rig: Rig) -> None:
    first, second = (frames(rig.opener.open(LONG, "a.mp4", at, at + 4)) for at in (8, 10))
    assert [frame.digest for frame in first[2:]] == [frame.digest for frame in second[:2]]


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        (-1, None, "start_s must be 0 or more"),
        (float("nan"), None, "start_s must be 0 or more"),
        (0, float("inf"), "end_s must be 0 or more"),
        (5, 5, "end_s must be more than start_s"),
        (None, 0, "end_s must be more than start_s"),
        (20, None, "a.mp4 is 0:20 long: nothing begins at 0:20"),
        (70, 80, "a.mp4 is 0:20 long: nothing begins at 1:10"),
    ],
)
def test_a_part_that_is_none_is_refused(
    rig: Rig, start: float | None, end: float | None, sentence: str
) -> None:
    with pytest.raises(BadRequest, match=sentence) as caught:
        rig.opener.open(LONG, "a.mp4", start, end)
    assert isinstance(caught.value, NoSuchPart) == ("nothing" in sentence)


def test_a_repeated_upload_is_not_decoded_again(rig: Rig, decoded: list[str]) -> None:
    first = rig.opener.open(LONG, "a.mp4")
    for _ in range(3):
        assert rig.opener.open(LONG, "b.mp4").parts == first.parts
    rig.opener.open(LONG, "c.mp4", 0, 20)  # the same frames, but asked for in other words
    assert decoded == ["a.mp4", "c.mp4"]


def test_a_repeated_upload_is_not_even_opened_after_a_restart(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rig.opener.open(LONG, "a.mp4")

    def opened(*_: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(video_file.VideoFile, "opened", opened)
    again = rig.restarted(tmp_path)
    assert again.opener.open(LONG, "a.mp4").parts == first.parts
    again.database.close()


@pytest.mark.parametrize(
    "other", [{"fps": 0.5}, {"frames": 3}, {"frame_pixels": 1024}, {"max_s": 30.0}], ids=str
)
def test_frames_are_remembered_for_one_way_of_taking_them(
    tmp_path: Path, rig: Rig, decoded: list[str], other: dict[str, Any]
) -> None:
    rig.opener.open(LONG, "a.mp4")
    again = rig.restarted(tmp_path, **other)
    again.opener.open(LONG, "b.mp4")
    assert decoded == ["a.mp4", "b.mp4"]
    again.database.close()


def test_frames_are_remembered_for_one_build_of_the_decoders(
    rig: Rig, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.opener.open(LONG, "a.mp4")
    monkeypatch.setattr(videos, "decoders", lambda: "av 0.0.0")
    rig.opener.open(LONG, "b.mp4")
    assert decoded == ["a.mp4", "b.mp4"]


def test_what_was_just_opened_is_not_decoded_again_to_be_asked_about(
    rig: Rig, decoded: list[str]
) -> None:
    opened = rig.opener.open(LONG, "a.mp4")
    for frame in frames(opened):
        frame.load().putpixel((0, 0), (1, 2, 3))  # whoever gets it may spoil it
    assert [canonical.digest(f.load()) for f in frames(opened)] == [
        f.digest for f in frames(opened)
    ]
    assert decoded == ["a.mp4"]


def test_all_frames_are_decoded_together_when_one_is_asked_for_later(
    tmp_path: Path, rig: Rig, decoded: list[str]
) -> None:
    rig.opener.open(LONG, "a.mp4")
    again = rig.restarted(tmp_path)
    opened = again.opener.open(LONG, "b.mp4")
    assert [number_of(frame.load()) for frame in frames(opened)] == [0, 5, 10, 15]
    assert decoded == ["a.mp4", "b.mp4"]
    again.database.close()


def test_few_decoded_videos_are_kept_in_memory(rig: Rig, decoded: list[str]) -> None:
    files = [video([grey(n + at) for at in range(8)], fps=2) for n in range(4)]
    for number, data in enumerate(files):
        rig.opener.open(data, str(number))
    for number, data in enumerate(files):
        for frame in frames(rig.opener.open(data, f"again {number}")):
            frame.load()
    assert decoded[:4] == ["0", "1", "2", "3"]
    assert "again 0" in decoded
    assert len(decoded) <= 8


def test_frames_in_memory_are_read_while_another_part_of_the_file_is_decoded(rig: Rig) -> None:
    opened = rig.opener.open(LONG, "a.mp4")
    with rig.opener._locks[int(opened.id[:8], 16) % len(rig.opener._locks)]:
        assert all(frame.at_hand() for frame in frames(opened))
        assert_frames_are_what_was_hashed(opened)


def test_a_frame_tells_whether_it_is_in_memory(rig: Rig) -> None:
    opened = rig.opener.open(LONG, "a.mp4")
    rig.opener.clear()
    assert not any(frame.at_hand() for frame in frames(opened))
    frames(opened)[2].load()
    assert all(frame.at_hand() for frame in frames(opened))


def test_many_threads_may_open_the_same_file_and_it_is_decoded_once(
    rig: Rig, decoded: list[str]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: rig.opener.open(LONG, "a.mp4"), range(16)))
    assert {one.parts for one in opened} == {opened[0].parts}
    assert decoded == ["a.mp4"]


def test_frames_that_are_gone_are_said_to_be_gone(tmp_path: Path, rig: Rig) -> None:
    rig.opener.open(LONG, "a.mp4")
    again = rig.restarted(tmp_path)
    opened = again.opener.open(LONG, "a.mp4")
    (tmp_path / "media" / "originals" / opened.id).unlink()
    with pytest.raises(PictureGone, match="no longer kept"):
        frames(opened)[0].load()
    again.database.close()


def test_a_file_that_was_changed_behind_our_back_is_not_answered(tmp_path: Path, rig: Rig) -> None:
    rig.opener.open(LONG, "a.mp4")
    opened = rig.restarted(tmp_path).opener.open(LONG, "a.mp4")
    (tmp_path / "media" / "originals" / opened.id).write_bytes(FOUR_SECONDS)
    with pytest.raises(GenerationFailed, match="was changed"):
        frames(opened)[0].load()


def test_wrongly_remembered_digests_are_found_out_on_loading_and_put_right(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(canonical, "digest", lambda picture: f"{number_of(picture):064}")
        wrong = rig.opener.open(LONG, "a.mp4")
    again = rig.restarted(tmp_path)
    wrong = again.opener.open(LONG, "a.mp4")
    assert frames(wrong)[1].digest == f"{5:064}"
    with pytest.raises(GenerationFailed, match="ask again"):
        frames(wrong)[1].load()
    right = again.opener.open(LONG, "a.mp4")
    assert_frames_are_what_was_hashed(right)
    again.database.close()


def test_a_lost_thumbnail_is_made_again(rig: Rig) -> None:
    rig.opener.open(LONG, "a.mp4").thumbnail.unlink()
    assert rig.opener.open(LONG, "a.mp4").thumbnail.exists()


@pytest.mark.parametrize(
    ("limit", "error", "sentence"),
    [
        ({"max_bytes": 1000}, FileTooBig, r"a\.mp4 is too big \(0\.\d MB; the limit is 0\.1 MB\)"),
        ({"max_pixels": 64 * 48 - 1}, VideoTooBig, "64 x 48 pixels a frame"),
        ({"max_s": 19.9}, VideoTooLong, r"a\.mp4 is too long \(0:20; the limit is 0:19\)"),
        ({"max_s": 5.0}, VideoTooLong, r"too long \(0:20; the limit is 0:05\)"),
    ],
    ids=["bytes", "pixels", "length", "much longer"],
)
def test_a_limit_refuses_also_what_was_seen_before_and_nothing_is_decoded_or_kept(
    tmp_path: Path,
    rig: Rig,
    decoded: list[str],
    limit: dict[str, Any],
    error: type[BadRequest],
    sentence: str,
) -> None:
    rig.opener.open(LONG, "before")
    again = rig.restarted(tmp_path, **limit)
    with pytest.raises(error, match=sentence):
        again.opener.open(LONG, "a.mp4")
    assert decoded == ["before"]
    again.database.close()
    fresh = Rig(tmp_path / "fresh", **limit)
    with pytest.raises(error):
        fresh.opener.open(LONG, "a.mp4")
    assert [path for path in (tmp_path / "fresh/media").rglob("*") if path.is_file()] == []
    fresh.database.close()


def test_a_part_of_a_video_that_is_too_long_may_be_asked_about(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_s=5.0)
    assert rig.opener.open(LONG, "a.mp4", 10, 15).frames == 3
    rig.database.close()


def test_without_pyav_a_video_is_refused_with_what_helps(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoNotSupported, match="until its host runs: pip install 'av<19'"):
        rig.opener.open(LONG, "a.mp4")


def test_a_video_that_cannot_be_kept_is_a_clear_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GenerationFailed, match="No space left"):
        rig.opener.open(LONG, "a.mp4")


def test_clearing_leaves_the_files_of_videos_that_somebody_still_has(rig: Rig) -> None:
    shown, data = rig.opener.open(FOUR_SECONDS, "v.mp4"), FOUR_SECONDS
    rig.media.clear()
    rig.opener.clear()
    assert rig.media.get(hashlib.sha256(data).hexdigest()) == data
    assert shown.thumbnail.exists()
    assert_frames_are_what_was_hashed(shown)
    del shown
    rig.media.clear()
    assert rig.media.get(hashlib.sha256(data).hexdigest()) is None
