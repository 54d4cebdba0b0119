"""Which frame is shown when, and what it looks like."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest
from PIL import Image

from qwen_ui.video_errors import BadVideo, VideoTooBig, VideoTooHeavy, VideoWithoutFrames
from qwen_ui.video_file import VideoFile, looks_like_video
from qwen_ui.video_frames import _Reader, pictures_at, read_track
from tests.pictures import photo, saved
from tests.videos import (
    av,
    corners,
    corners_of,
    grey,
    growing,
    no_frame,
    number_of,
    only_sound,
    seconds_of_grey,
    vast,
    video,
    with_length,
)


def seen(
    data: bytes, *times: float, max_pixels: int = 2**22, most: int = 2**22
) -> list[Image.Image]:
    file = VideoFile(data, "a.mp4", max_pixels)
    track = read_track(file)
    return list(pictures_at(file, track, [Fraction(str(at)) for at in times], most))


def numbers(data: bytes, *times: float) -> list[int]:
    return [number_of(picture) for picture in seen(data, *times)]


def length(data: bytes) -> float:
    return float(read_track(VideoFile(data, "a.mp4", 2**22)).length_s)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "mpeg4"),
        ("mp4", "libx265"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("matroska", "libx264"),
    ],
)
def test_each_second_shows_its_frame(kind: str, codec: str) -> None:
    data = video(kind=kind, codec=codec)
    assert looks_like_video(data)
    assert length(data) == pytest.approx(4, abs=0.11)
    assert numbers(data, 0, 0.9, 1, 2.5, 3.9) == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("key_every", [1, 7, 30, 1000])
def test_what_is_shown_does_not_depend_on_where_decoding_begins(key_every: int) -> None:
    data = video(seconds_of_grey(12), key_every=key_every)
    every = seen(data, *range(12))
    for at in (0, 5, 11):
        (alone,) = seen(data, at)
        assert number_of(alone) == at
        assert alone.tobytes() == every[at].tobytes()


def test_frames_between_key_frames_are_not_decoded_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(VideoFile, "check", lambda _, width, height: sizes.append(width))
    data = video(seconds_of_grey(20), key_every=10)
    file = VideoFile(data, "a.mp4", 2**22)
    track = read_track(file)
    sizes.clear()
    (last,) = pictures_at(file, track, [Fraction(19)], 2**22)
    assert number_of(last) == 19
    assert len(sizes) < 60  # of 200


def test_an_index_that_leads_astray_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[int] = []
    seek = _Reader._seek

    def astray(reader: _Reader, to: int) -> None:
        sought.append(to)
        seek(reader, to + 10**9 if len(sought) == 1 else to)

    monkeypatch.setattr(_Reader, "_seek", astray)
    assert numbers(video(seconds_of_grey(12)), 5, 11) == [5, 11]
    assert len(sought) == 2  # there, and back to the beginning: from then on frame by frame
    assert sought[1] == 0


def test_a_frame_is_shown_until_the_next_one_begins() -> None:
    pictures = [grey(n) for n in range(4)]
    data = video(pictures, times=[0, 0.1, 5, 5.2])
    assert numbers(data, 0, 1, 4.9, 5, 5.1, 5.2, 9) == [0, 1, 1, 2, 2, 3, 3]


def test_sound_beside_the_pictures_is_passed_over() -> None:
    assert numbers(video(sound=True), 0, 3) == [0, 3]


def test_a_video_that_begins_late_is_seen_from_its_first_frame() -> None:
    data = video([grey(3), grey(4)], times=[7, 8], kind="matroska")
    assert numbers(data, 0, 1) == [3, 4]


@pytest.mark.parametrize("told", [1, 3600])
def test_a_header_that_lies_about_the_length_is_not_believed(told: int) -> None:
    data = with_length(video(seconds_of_grey(6)), told)
    assert length(data) == pytest.approx(6, abs=0.01)
    assert numbers(data, 0, 3, 5) == [0, 3, 5]


def test_a_video_that_is_cut_off_is_as_long_as_what_is_there() -> None:
    whole = video([photo(64, 48, seed) for seed in range(100)], kind="matroska")
    assert 1 < length(whole[: len(whole) // 2]) < 9


@pytest.mark.parametrize(
    ("turned", "quarters"),
    [
        ((0, False), "rgbw"),
        ((90, False), "gwrb"),
        ((180, False), "wbgr"),
        ((-90, False), "brwg"),
        ((0, True), "grwb"),
        ((180, True), "bwrg"),
    ],
)
def test_a_turned_video_is_seen_upright(turned: tuple[int, bool], quarters: str) -> None:
    (picture,) = seen(video([corners()] * 3, turned=turned), 0)
    assert corners_of(picture) == quarters
    assert picture.size == ((48, 64) if abs(turned[0]) == 90 else (64, 48))


def test_a_turned_and_mirrored_video_is_turned_first() -> None:
    (picture,) = seen(video([corners()] * 3, turned=(90, True)), 0)
    assert corners_of(picture) in ("wgbr", "rbgw")  # a transposition, whichever


def test_pixels_that_are_not_square_are_made_square() -> None:
    (picture,) = seen(video([corners()] * 3, aspect=Fraction(4, 3)), 0)
    assert picture.size == (85, 48)
    (picture,) = seen(video([corners()] * 3, aspect=Fraction(100)), 0)
    assert picture.size == (64, 48)


def test_odd_sizes_keep_every_pixel() -> None:
    data = video([corners((65, 49))] * 3, pixels="yuv444p")
    (picture,) = seen(data, 0)
    assert picture.size == (65, 49)


def test_large_frames_are_reduced_and_keep_their_shape() -> None:
    (picture,) = seen(video([corners((640, 480))] * 3), 0, most=3072)
    assert picture.size == (64, 48)
    assert corners_of(picture) == "rgbw"


@pytest.mark.parametrize("size", [(640, 480), (1280, 720)], ids=["SD", "HD"])
def test_colours_that_a_file_does_not_name_are_those_players_show(size: tuple[int, int]) -> None:
    """FFmpeg writes BT.601 unless told: a player shows such an HD file shifted, and so do we."""
    (picture,) = seen(video([Image.new("RGB", size, (200, 40, 40))] * 2), 0)
    pixel = picture.getpixel((9, 9))
    assert isinstance(pixel, tuple)
    off = max(abs(a - b) for a, b in zip(pixel, (200, 40, 40), strict=True))
    assert off <= 4 if size[1] < 720 else off > 8


def test_frames_of_8k_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(VideoTooBig, match="7680 x 4320 pixels a frame; the limit is 9 megapixels"):
        read_track(VideoFile(vast(), "a.mp4", 9_437_184))


def test_frames_that_grow_beyond_the_header_are_not_shown() -> None:
    data = growing(grey(1), grey(2, (640, 480)))
    assert [picture.size for picture in seen(data, 0, 1.5)] == [(64, 48), (640, 480)]
    try:
        pictures = seen(data, 0, 1.5, max_pixels=64 * 48)
    except VideoTooBig:
        return
    assert {picture.size for picture in pictures} == {(64, 48)}


def test_a_video_that_needs_too_much_decoding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_ui.video_frames._MOST_WORK", 64 * 48 * 20)
    data = video(seconds_of_grey(4), key_every=1000)
    assert numbers(data, 1) == [1]
    with pytest.raises(VideoTooHeavy, match="too long to decode"):
        seen(data, 3)


@pytest.mark.parametrize("data", [only_sound(), no_frame()], ids=["sound", "no frame"])
def test_what_shows_nothing_is_said_to_show_nothing(data: bytes) -> None:
    assert looks_like_video(data)
    with pytest.raises(VideoWithoutFrames, match=r"a\.mp4 has no moving picture"):
        seen(data, 0)


@pytest.mark.parametrize(
    "data",
    [
        video()[:600],
        b"\0\0\0\x18ftypmp42" + bytes(1000),
        b"\x1a\x45\xdf\xa3" + b"nothing" * 100,
        video(codec="ffv1", kind="matroska"),
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"",
    ],
    ids=["cut", "empty box", "no matroska", "codec", "playlist", "empty"],
)
def test_broken_and_strange_files_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadVideo, match=r"a\.mp4 cannot be read as a video"):
        seen(data, 0)


def test_a_damaged_packet_costs_its_frames_only() -> None:
    data = bytearray(video(seconds_of_grey(6), key_every=10))
    with av.open(io.BytesIO(bytes(data))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    hurt = packets[15]
    data[hurt.pos : hurt.pos + hurt.size] = bytes(hurt.size)
    shown = numbers(bytes(data), 0, 1, 3, 5)
    assert (shown[0], *shown[2:]) == (0, 3, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        saved(photo()),
        saved(photo(), "GIF"),
        saved(photo(), "AVIF"),
        b"\0\0\0\x18ftypheic" + bytes(100),
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
    ],
    ids=["empty", "text", "PNG", "GIF", "AVIF", "HEIC", "playlist", "concat"],
)
def test_what_is_no_video_is_not_taken_for_one(data: bytes) -> None:
    assert not looks_like_video(data)


def test_the_same_file_gives_the_same_pictures_every_time() -> None:
    data = video([photo(64, 48, seed) for seed in range(30)])
    first, second = (seen(data, 0, 1, 2) for _ in range(2))
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]
