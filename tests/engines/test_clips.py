"""Which frames of a message are one video, and which of them make a pair."""

from __future__ import annotations

from qwen_ui.engines.clips import Clip, pieces
from qwen_ui.types import Frame, Image
from tests.engines.tiny import clip, picture


def seconds(clip: str | Image | Clip) -> list[float]:
    """The times of the frames of a video."""
    assert isinstance(clip, Clip)
    return [frame.at_s for frame in clip.frames]


def paired(count: int) -> list[tuple[float, float, float]]:
    """The two times of each pair of a video, and the one it is shown at."""
    (found,) = pieces(clip(*range(count)))
    assert isinstance(found, Clip)
    return [(pair.first.at_s, pair.second.at_s, pair.at_s) for pair in found.pairs]


def test_a_video_is_one_piece_without_the_times_before_its_frames() -> None:
    before, video, after = pieces(("look", *clip(1, 2, 3), "what?"))
    assert (before, after) == ("look", "what?")
    assert seconds(video) == [0.0, 1.0, 2.0]


def test_pictures_and_texts_stay_what_and_where_they_are() -> None:
    parts = ("a", picture(1), "<0.0 seconds>", picture(2))
    assert pieces(parts) == list(parts)
    assert pieces(()) == []


def test_two_videos_side_by_side_are_two() -> None:
    first, second = pieces((*clip(1, 2), *clip(3, 4, start_s=2)))
    assert (seconds(first), seconds(second)) == ([0.0, 1.0], [2.0, 3.0])


def test_a_video_ends_where_something_else_comes_between() -> None:
    frames = clip(1, 2)
    for between in ("and", picture(3)):
        first, other, second = pieces((*frames[:2], between, *frames[2:]))
        assert (seconds(first), other, seconds(second)) == ([0.0], between, [1.0])


def test_frames_of_another_size_are_another_video() -> None:
    small, large = clip(1, 2), clip(1, 2, 3, 4, size=(96, 64))
    first, second = pieces((*small, *large[4:]))
    assert (seconds(first), seconds(second)) == ([0.0, 1.0], [2.0, 3.0])


def test_frames_come_in_pairs_at_the_mean_of_their_times() -> None:
    assert paired(4) == [(0, 1, 0.5), (2, 3, 2.5)]


def test_the_last_of_an_odd_number_makes_a_pair_with_itself() -> None:
    assert paired(3) == [(0, 1, 0.5), (2, 2, 2.0)]
    assert paired(1) == [(0, 0, 0.0)]


def test_a_frame_without_a_time_is_a_picture() -> None:
    """Its key is that of a picture as well."""
    frames = [part for part in clip(1, 2) if isinstance(part, Frame)]
    assert pieces(frames) == frames
    video, frame = pieces((*clip(1, 2), frames[1]))
    assert (seconds(video), frame) == ([0.0, 1.0], frames[1])
