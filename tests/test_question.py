"""What a question may be."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image as PILImage

from qwen_ui.errors import EmptyQuestion, QuestionTooLong, TooManyPictures
from qwen_ui.question import check_question
from qwen_ui.settings import Settings
from qwen_ui.types import Frame, Image, Message


def pixels() -> PILImage.Image:
    raise AssertionError("decoded")


PICTURE = Image("1" * 64, 4, 4, pixels)
VIDEO = [
    part
    for at in range(16)
    for part in (f"<{at}.0 seconds>", Frame("2" * 64, 4, 4, pixels, at, at, bool))
]


def check(*parts: str | Image, **limits: Any) -> None:
    check_question(Message("user", parts), Settings(**limits))


def test_pictures_and_videos_alone_are_no_question() -> None:
    for parts in ([], [PICTURE], VIDEO, [PICTURE, *VIDEO]):
        with pytest.raises(EmptyQuestion):
            check(*parts)
    check(*VIDEO, "what?")
    check("what?", *VIDEO)


def test_only_what_a_person_wrote_is_counted() -> None:
    check("wh", *VIDEO, "at?", max_question_chars=5)
    with pytest.raises(QuestionTooLong, match="5 characters; at most 4"):
        check("wh", *VIDEO, "at?", max_question_chars=4)


def test_a_video_counts_as_one_picture_however_many_frames_it_has() -> None:
    check(PICTURE, *VIDEO, *VIDEO, "what?", max_images=3)
    with pytest.raises(TooManyPictures):
        check(PICTURE, *VIDEO, *VIDEO, "what?", max_images=2)
