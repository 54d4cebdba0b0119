"""What a question may be: its length and what is attached to it."""

from __future__ import annotations

from itertools import pairwise

from qwen_ui.errors import EmptyQuestion, QuestionTooLong, TooManyPictures
from qwen_ui.settings import Settings
from qwen_ui.types import Frame, Image, Message


def check_question(question: Message, settings: Settings) -> None:
    """Raises errors.EmptyQuestion, QuestionTooLong, TooManyPictures."""
    times = _times_in(question)
    typed = [p for at, p in enumerate(question.parts) if isinstance(p, str) and at not in times]
    text = "".join(typed)
    if not text:
        raise EmptyQuestion
    if len(text) > settings.max_question_chars:
        raise QuestionTooLong(len(text), settings.max_question_chars)
    if _attached(question) > settings.max_images:
        raise TooManyPictures(settings.max_images)


def _times_in(message: Message) -> set[int]:
    """Where the texts stand that nobody typed: the times of a video's frames."""
    pairs = enumerate(pairwise(message.parts))
    return {place for place, (_, following) in pairs if isinstance(following, Frame)}


def _attached(question: Message) -> int:
    """Pictures and videos."""
    images = [part for part in question.parts if isinstance(part, Image)]
    return sum(not isinstance(image, Frame) or image.place == 0 for image in images)
