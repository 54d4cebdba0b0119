"""How a video stands in the chat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen_ui.types import Video
from qwen_ui.ui.i18n import texts
from qwen_ui.ui.video_note import poster, video_note


def a_video(**changed: Any) -> Video:
    values: dict[str, Any] = {
        "id": "1",
        "name": "a.mp4",
        "parts": (),
        "frames": 16,
        "every_s": 1.0,
        "start_s": 0.0,
        "end_s": 16.0,
        "length_s": 16.0,
        "thumbnail": Path("a.jpg"),
    }
    return Video(**values | changed)


@pytest.mark.parametrize(
    ("changed", "english", "chinese"),
    [
        (
            {},
            "a.mp4: video, 0:16. The model reads 16 single frames, 1 per second, and no sound.",
            "a.mp4：视频，0:16。模型读取其中 16 帧画面，每秒 1 帧，不含声音。",
        ),
        ({"every_s": 0.5}, "16 single frames, 2 per second", "每秒 2 帧"),
        ({"every_s": 12.5}, "16 single frames, one every 12.5 seconds", "每 12.5 秒一帧"),
        ({"frames": 1}, "The model reads one frame of it", "只读取其中一帧画面"),
        ({"start_s": 4.0, "end_s": 8.0}, "video, 0:04–0:08 / 0:16.", "视频，0:04–0:08 / 0:16。"),
    ],
)
def test_what_the_model_reads_of_a_video_is_said_openly(
    changed: dict[str, Any], english: str, chinese: str
) -> None:
    assert english in video_note(a_video(**changed), texts("en"), native=False)
    assert chinese in video_note(a_video(**changed), texts("zh"), native=False)


@pytest.mark.parametrize(
    ("changed", "english", "chinese"),
    [
        (
            {},
            "The model reads 16 frames of it as a video, 1 per second, and no sound.",
            "模型把其中 16 帧作为视频读取，每秒 1 帧，不含声音。",
        ),
        ({"frames": 1}, "The model reads one frame of it", "只读取其中一帧画面"),
    ],
)
def test_of_a_model_that_reads_videos_the_same_is_said(
    changed: dict[str, Any], english: str, chinese: str
) -> None:
    assert english in video_note(a_video(**changed), texts("en"), native=True)
    assert chinese in video_note(a_video(**changed), texts("zh"), native=True)


def test_a_poster_tells_the_length() -> None:
    assert poster(a_video(), "<img>") == '<span class="video"><img><span>▶ 0:16</span></span>'
