"""The chat: its components, and which event calls which handler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from qwen_ui.ui.examples import Example
from qwen_ui.ui.handlers import ChatHandlers
from qwen_ui.ui.i18n import FALLBACK, Texts, texts, texts_for
from qwen_ui.ui.parts import AT_ONCE, told
from qwen_ui.ui.session import Session

LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
_SEND = "(box, model, session) => [window.qwen_ui.send(box), model, session]"
_EMPTY = "() => window.qwen_ui.empty()"
_FILES = "(box) => window.qwen_ui.files(box)"
_HEED = "(told, box) => window.qwen_ui.heed(told, box)"
_PRESSED = "(value, session) => [window.qwen_ui.pressed, session]"
_EDITED = "(number, session) => [window.qwen_ui.edited, session]"


@dataclass(frozen=True, slots=True)
class ChatTab:
    """The components that events read and write."""

    session: gr.State
    chat: gr.Chatbot
    told: gr.HTML  # see parts.told
    box: gr.MultimodalTextbox
    files: gr.Textbox  # the paths in the box: changes when a file comes or goes, not with the text
    ticket: gr.Number  # changes when there is an answer to stream
    empty: gr.Button
    pressed: gr.Textbox  # the value of the button that was pressed
    suggested: gr.Button
    explain: gr.Button
    ask_model: gr.Button
    edited: gr.Number
    edit: gr.Button
    cancel_edit: gr.Button


def build_chat(label: gr.I18n, below: gr.HTML) -> ChatTab:
    """Lay the chat out, with `below` under the box."""
    session = gr.State(Session())
    chat = gr.Chatbot(
        elem_id="chat",
        label=label("app.conversation"),
        show_label=False,
        container=False,
        height="100%",
        layout="bubble",
        editable="user",
        buttons=["copy"],
        latex_delimiters=LATEX,
        sanitize_html=True,
        allow_tags=False,
        feedback_options=None,
    )
    with gr.Column(elem_id="composer", min_width=0):
        # what a fresh session is told: the first hit is to change nothing here
        beside = gr.HTML(told(Session(), texts(FALLBACK)), elem_id="told")
        box = gr.MultimodalTextbox(
            elem_id="box",
            label=label("box.label"),
            show_label=False,
            placeholder=str(label("box.placeholder")),
            file_count="multiple",
            sources=["upload"],
            stop_btn=True,  # always there, seen while an answer runs: see style.css
            autofocus=True,
            max_plain_text_length=100_000,
            max_lines=8,
        )
        below.render()
    hidden: dict[str, Any] = {"visible": "hidden", "show_label": False, "container": False}
    return ChatTab(
        session,
        chat,
        beside,
        box,
        gr.Textbox(elem_id="files", **hidden),
        gr.Number(0, elem_id="ticket", **hidden),
        gr.Button(elem_id="empty-box", visible="hidden"),
        gr.Textbox(elem_id="pressed", **hidden),
        gr.Button(elem_id="ask-suggested", visible="hidden"),
        gr.Button(elem_id="explain-miss", visible="hidden"),
        gr.Button(elem_id="ask-model", visible="hidden"),
        gr.Number(-1, elem_id="edited", **hidden),
        gr.Button(elem_id="edit-question", visible="hidden"),
        gr.Button(elem_id="cancel-edit", visible="hidden"),
    )


def connect_chat(
    tab: ChatTab, handlers: ChatHandlers, model: gr.Dropdown, new_chat: gr.Button
) -> None:
    """Which event calls which handler. Everything but `stream` passes by the queue."""
    many = {**AT_ONCE, "trigger_mode": "multiple"}
    shown = [tab.chat, tab.told]

    tab.box.submit(handlers.ask, [tab.box, model, tab.session], shown, js=_SEND, **many)
    tab.empty.click(None, None, tab.box, js=_EMPTY, **AT_ONCE)
    asks_again = [tab.chat.retry, tab.ask_model.click]
    gr.on(asks_again, handlers.retry, [model, tab.session], shown, **many)
    pressed: dict[str, Any] = {"inputs": [tab.pressed, tab.session], "js": _PRESSED, **AT_ONCE}
    tab.suggested.click(handlers.suggested, outputs=shown, **pressed)
    tab.explain.click(handlers.explain, outputs=shown, **pressed)
    tab.told.change(None, [tab.told, tab.box], [tab.box, tab.ticket], js=_HEED, **many)
    tab.ticket.change(
        handlers.stream,
        tab.session,
        shown,
        trigger_mode="multiple",
        concurrency_limit=None,
        show_progress="hidden",
        show_progress_on=tab.chat,  # its buttons rest while an answer is drawn
        api_visibility="private",
    )
    tab.box.stop(handlers.stop, tab.session, shown, **many)

    # a dropped picture is opened before it is sent; typing alone asks nothing of the server
    tab.box.change(None, tab.box, tab.files, js=_FILES, **AT_ONCE)
    dropped = [tab.box, model, tab.session]
    tab.files.change(handlers.prepare, dropped, tab.told, **AT_ONCE, trigger_mode="always_last")

    edited = [tab.box, tab.told]
    tab.edit.click(handlers.edit, [tab.edited, tab.session], edited, js=_EDITED, **AT_ONCE)
    tab.cancel_edit.click(handlers.cancel_edit, tab.session, edited, **AT_ONCE)
    gr.on([new_chat.click, tab.chat.clear], handlers.clear, tab.session, shown, **AT_ONCE)


def connect_examples(tab: ChatTab, blocks: gr.Blocks, examples: Sequence[Example]) -> None:
    """The empty chat: a word of welcome, and examples that fill the box."""

    def welcome(request: gr.Request) -> gr.Chatbot:
        say = texts_for(request)
        shown: Any = [
            {"icon": str(example.picture), "text": _question(example, say)} for example in examples
        ]
        head = f"<h2>{say('empty.title')}</h2><p>{say('empty.hint')}</p>"
        return gr.Chatbot(placeholder=head, examples=shown)

    def fill(request: gr.Request, chosen: gr.SelectData) -> gr.MultimodalTextbox:
        example = examples[chosen.index]
        question = _question(example, texts_for(request))
        return gr.MultimodalTextbox(value={"text": question, "files": [str(example.picture)]})

    blocks.load(welcome, None, tab.chat, **AT_ONCE)
    tab.chat.example_select(fill, None, tab.box, **AT_ONCE)


def _question(example: Example, say: Texts) -> str:
    return example.questions[say.language]
