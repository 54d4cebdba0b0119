"""Small pieces of the page that handlers hand out."""

from __future__ import annotations

import json
from typing import Any

from qwen_ui.types import ModelInfo, ModelState, Suggestion
from qwen_ui.ui.badge import duration
from qwen_ui.ui.conversation import Turn
from qwen_ui.ui.i18n import Texts
from qwen_ui.ui.session import Notice, Session
from qwen_ui.ui.typed import as_typed
from qwen_ui.ui.view import thumbnail

# how an event is wired that neither queues nor draws a spinner over the page. Without the last line
# each step of each event would draw every component anew that an event has ever written to
AT_ONCE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "show_progress_on": [],
    "api_visibility": "private",
}
_ABOUT = ("similar.asked", "similar.asked_picture", "similar.asked_pictures")  # by pictures
REAL_MODEL = "python app.py --model Qwen/Qwen3-VL-4B-Instruct"


def told(session: Session, say: Texts) -> str:
    """All that the page shows or does beside the chat, as one value: an output more costs a hit
    about 3 ms. `page.js` reads the attributes, `style.css` shows Stop while `data-busy` is there.
    """
    said = session.notice
    shown = notice(*said.sentences) if said else ""
    shown += banner(session, say) or suggestions(session.conversation.last, say)
    order = f' data-order="{as_typed(_order(said))}"' if said else ""
    busy = " data-busy" if session.busy else ""
    return f'<div class="told" data-ticket="{session.ticket}"{busy}{order}>{shown}</div>'


def _order(said: Notice) -> str:
    return json.dumps({"refused": said.refused, "give_back": said.give_back, "at": said.at})


def notice(*sentences: str) -> str:
    """A line above the box that says what was wrong."""
    lines = "".join(f"<p>{as_typed(sentence)}</p>" for sentence in sentences)
    return f'<div class="notice" role="alert">{lines}</div>'


def banner(session: Session, say: Texts) -> str:
    """Tells that an earlier question is being edited, and which pictures stay with it."""
    edited = session.editing
    if edited is None:
        return ""
    number, turn = edited
    kept = "".join(thumbnail(picture) for picture in turn.pictures)
    told = say("edit.banner", number=number)
    if kept:
        told += " " + say("edit.kept")
    cancel = as_typed(say("edit.cancel"))
    return (
        f'<div class="editing" role="status"><span>{as_typed(told)}</span>{kept}'
        f'<button type="button" class="cancel-edit" title="{cancel}" aria-label="{cancel}">✕'
        "</button></div>"
    )


def suggestions(turn: Turn | None, say: Texts) -> str:
    """Questions like this one that were asked before: a click asks one in its place."""
    if turn is None or not turn.suggestions:
        return ""
    about = say(_ABOUT[min(len(turn.pictures), 2)])
    offered = "".join(_suggestion(one, say) for one in turn.suggestions)
    head = f"<span>{as_typed(about)}</span>"
    return f'<div class="similar" role="group" aria-label="{as_typed(about)}">{head}{offered}</div>'


def _suggestion(one: Suggestion, say: Texts) -> str:
    asked = " ".join(one.question.split())
    recent = one.age_s < 60
    age = say("similar.now") if recent else say("similar.age", age=duration(one.age_s, say))
    return (
        f'<button type="button" class="suggestion" value="{as_typed(one.name)}" '
        f'title="{as_typed(asked)}"><b>{as_typed(asked)}</b> <i>{as_typed(age)}</i></button>'
    )


def model_line(info: ModelInfo, say: Texts) -> str:
    """One line on how the model is."""
    match info.state:
        case ModelState.LOADING:
            told = say("model.loading", percent=int(info.progress * 100))
        case ModelState.FAILED:
            told = say("model.failed", reason=info.description)
        case state:
            told = " · ".join(filter(None, (say(f"model.{state.value}"), info.description)))
    return f'<div class="model {info.state.value}"><i></i><span>{as_typed(told)}</span></div>'


def demo_note(info: ModelInfo, say: Texts) -> str:
    """Says plainly that this model is a demonstration, and how to have a real one."""
    if not info.demo:
        return ""
    told, _, rest = say("model.demo", command="\0").partition("\0")
    return f'<div class="demo">{as_typed(told)}<code>{REAL_MODEL}</code>{as_typed(rest)}</div>'
