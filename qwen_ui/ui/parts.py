"""Small pieces of the page that handlers hand out."""

from __future__ import annotations

from typing import Any

from qwen_ui.types import ModelInfo, ModelState
from qwen_ui.ui.i18n import Texts
from qwen_ui.ui.session import Session
from qwen_ui.ui.view import as_typed, thumbnail

# how an event is wired that neither queues nor draws a spinner over the page
AT_ONCE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
REAL_MODEL = "python app.py --model Qwen/Qwen3-VL-4B-Instruct"


def notice(*sentences: str) -> str:
    """A line above the box that says what was wrong."""
    lines = "".join(f"<p>{as_typed(sentence)}</p>" for sentence in sentences)
    return f'<div class="notice" role="alert">{lines}</div>'


def banner(session: Session, say: Texts) -> str:
    """Tells that an earlier question is being edited, and which pictures stay with it."""
    turn = session.editing
    if turn is None:
        return ""
    kept = "".join(thumbnail(picture) for picture in turn.pictures)
    told = say("edit.banner", number=session.conversation.turns.index(turn) + 1)
    if kept:
        told += " " + say("edit.kept")
    cancel = as_typed(say("edit.cancel"))
    return (
        f'<div class="editing" role="status"><span>{as_typed(told)}</span>{kept}'
        f'<button type="button" class="cancel-edit" title="{cancel}" aria-label="{cancel}">✕'
        "</button></div>"
    )


def model_line(info: ModelInfo, say: Texts) -> str:
    """One line on how the model is."""
    match info.state:
        case ModelState.LOADING:
            told = say("model.loading", percent=int(info.progress * 100))
        case ModelState.FAILED:
            told = f"{say('model.failed')}: {info.description}"
        case state:
            told = " · ".join(filter(None, (say(f"model.{state.value}"), info.description)))
    return f'<div class="model {info.state.value}"><i></i><span>{as_typed(told)}</span></div>'


def demo_note(info: ModelInfo, say: Texts) -> str:
    """Says plainly that this model is a demonstration, and how to have a real one."""
    if not info.demo:
        return ""
    told, _, rest = say("model.demo", command="\0").partition("\0")
    return f'<div class="demo">{as_typed(told)}<code>{REAL_MODEL}</code>{as_typed(rest)}</div>'
