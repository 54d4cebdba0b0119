"""The conversation as Chatbot messages. Pure: the same conversation gives the same view.

What a visitor typed is shown as typed: every character that Markdown, LaTeX or HTML could take
for its own is written as a character reference, inside one HTML block. `page.js` turns the block
back into text when it is copied, and leaves the badge out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from qwen_ui.events import ModelStatus
from qwen_ui.types import Attachment, Video
from qwen_ui.ui.badge import badge, duration
from qwen_ui.ui.conversation import Conversation, Turn, TurnState
from qwen_ui.ui.i18n import Texts
from qwen_ui.ui.typed import as_typed
from qwen_ui.ui.video_note import poster, video_note
from qwen_ui.ui.why import sentence

ChatMessage = dict[str, Any]  # Gradio's own form: role, content, metadata


class Reads(NamedTuple):
    """How a model reads pictures and videos."""

    max_pixels: int
    native_video: bool = False


def messages(
    conversation: Conversation, say: Texts, reads: Callable[[str], Reads]
) -> list[ChatMessage]:
    """Everything the Chatbot shows. `reads` tells it of a model."""
    shown: list[ChatMessage] = []
    last = conversation.last
    for turn in conversation.turns:
        notes = picture_notes(turn.pictures, say, reads(turn.model)) if turn.pictures else []
        shown += [_question(turn, say, notes), *_thought(turn, say)]
        shown += _answer(turn, say, turn is last)
    return shown


def picture_notes(pictures: tuple[Attachment, ...], say: Texts, reads: Reads) -> list[str]:
    """What the model does not see of these pictures and videos."""
    max_pixels = reads.max_pixels
    notes = []
    for picture in pictures:
        if isinstance(picture, Video):
            notes.append(video_note(picture, say, native=reads.native_video))
            continue
        width, height = picture.image.width, picture.image.height
        if width * height > max_pixels:
            scale = math.sqrt(max_pixels / (width * height))
            size, read = (f"{width * by:.0f} × {height * by:.0f}" for by in (1, scale))
            notes.append(say("chat.reduced", name=picture.name, size=size, read=read))
        if picture.frames > 1:
            notes.append(say("chat.first_frame", name=picture.name, frames=picture.frames))
    return notes


def _question(turn: Turn, say: Texts, notes: list[str]) -> ChatMessage:
    pictures = "".join(thumbnail(picture) for picture in turn.pictures)
    if turn.repeats is not None:
        notes = [*notes, say("chat.repeated")]
    block = (
        '<div class="asked">'
        + (f'<div class="pictures">{pictures}</div>' if pictures else "")
        + "".join(f'<div class="note">{as_typed(note)}</div>' for note in notes)
        + f'<div class="question">{as_typed(turn.text)}</div></div>'
    )
    return _message("user", block)


def thumbnail(picture: Attachment) -> str:
    """HTML of a small picture, or of one frame of a video."""
    # a relative address, so that it holds behind a reverse proxy; a file, so that Gradio need not
    # hash and copy it again for every step of a stream
    address = "gradio_api/file=" + quote(str(picture.thumbnail))
    image = f'<img src="{address}" alt="{as_typed(picture.name)}">'
    return poster(picture, image) if isinstance(picture, Video) else image


def _thought(turn: Turn, say: Texts) -> list[ChatMessage]:
    if not turn.thought:
        return []
    over = turn.state is not TurnState.THINKING
    metadata: dict[str, Any] = {
        "title": say("chat.thought" if over else "chat.thinking"),
        "status": "done" if over else "pending",
    }
    if over and turn.thought_s >= 0.1:
        metadata["duration"] = round(turn.thought_s, 1)
    return [{**_message("assistant", turn.thought), "metadata": metadata}]


def _answer(turn: Turn, say: Texts, last: bool) -> list[ChatMessage]:
    texts = [turn.answer] if turn.answer else []
    if turn.error is not None:
        told = f"{say.error(turn.error)} {say('chat.try_again')}"
        texts.append(f'<div class="failure" role="alert">{as_typed(told)}</div>')
    elif turn.state is TurnState.WAITING:
        texts.append(f'<div class="waiting">{as_typed(_waiting(turn.waiting, say))}</div>')
    elif line := badge(turn, say, last=last):
        texts.append(line)
    if turn.why is not None:
        why = as_typed(sentence(turn.why, say))
        texts.append(f'<div class="why" role="status">{why}</div>')
    return [_message("assistant", *texts)] if texts else []


def _waiting(status: ModelStatus | None, say: Texts) -> str:
    match status:
        case None:
            return ""
        case ModelStatus(waiting=count) if count:
            line = say("chat.waiting_one") if count == 1 else say("chat.waiting", count=count)
            if status.wait_s is None:
                return line
            return say("chat.wait", line=line, time=duration(max(1.0, status.wait_s), say))
        case ModelStatus(progress=progress) if progress >= 1:
            return ""
        case ModelStatus(progress=0):
            return say("chat.loading_begins", model=status.model)
        case _:
            percent = int(status.progress * 100)
            return say("chat.loading", model=status.model, percent=percent)


def _message(role: str, *texts: str) -> ChatMessage:
    # as parts, since Gradio re-indents a plain string
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}
