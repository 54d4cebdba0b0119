"""What a question may be: its length and what is attached to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from qwen_ui.errors import EmptyQuestion, QuestionTooLong, TooManyPictures
from qwen_ui.settings import Settings
from qwen_ui.types import Frame, Image, Message


def check_question(question: Message, settings: Settings) -> None:
    """Raises errors.EmptyQuestion, QuestionTooLong, TooManyPictures."""
    text = "".join(_typed(question))
    if not text:
        raise EmptyQuestion
    if len(text) > settings.max_question_chars:
        raise QuestionTooLong(len(text), settings.max_question_chars)
    if _attached(question) > settings.max_images:
        raise TooManyPictures(settings.max_images)


def _typed(question: Message) -> Iterator[str]:
    """The texts of a person: all but the times of frames."""
    for part, following in pairwise((*question.parts, None)):
        if isinstance(part, str) and not isinstance(following, Frame):
            yield part


def _attached(question: Message) -> int:
    """Pictures and videos."""
    images = [part for part in question.parts if isinstance(part, Image)]
    return sum(not isinstance(image, Frame) or image.place == 0 for image in images)
