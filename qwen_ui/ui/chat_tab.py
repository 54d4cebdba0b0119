"""The chat: its components, and which event calls which handler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from qwen_ui.ui.examples import Example
from qwen_ui.ui.handlers import ChatHandlers
from qwen_ui.ui.i18n import Texts, texts_for
from qwen_ui.ui.parts import AT_ONCE
from qwen_ui.ui.session import Session

LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
_SEND = "(box) => window.qwen_ui.send(box)"
_FILES = "(box) => window.qwen_ui.files(box)"
_OBEY = "(box, order) => window.qwen_ui.obey(box, order)"
_BUSY = "(busy) => { document.body.classList.toggle('busy', busy); }"
_EDITED = "(number, session) => [window.qwen_ui.edited, session]"


@dataclass(frozen=True, slots=True)
class ChatTab:
    """The components that events read and write."""

    session: gr.State
    chat: gr.Chatbot
    notice: gr.HTML
    banner: gr.HTML
    box: gr.MultimodalTextbox
    files: gr.Textbox  # the paths in the box: changes when a file comes or goes, not with the text
    order: gr.Textbox  # JSON: what the box is to drop, or to take back
    ticket: gr.Number  # changes when there is an answer to stream
    busy: gr.Checkbox  # an answer is running: Stop is shown
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
        notice, banner = gr.HTML(elem_id="notice"), gr.HTML(elem_id="banner")
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
        notice,
        banner,
        box,
        gr.Textbox(elem_id="files", **hidden),
        gr.Textbox(elem_id="order", **hidden),
        gr.Number(0, elem_id="ticket", **hidden),
        gr.Checkbox(elem_id="busy", **hidden),
        gr.Number(-1, elem_id="edited", **hidden),
        gr.Button(elem_id="edit-question", visible="hidden"),
        gr.Button(elem_id="cancel-edit", visible="hidden"),
    )


def connect_chat(
    tab: ChatTab, handlers: ChatHandlers, model: gr.Dropdown, new_chat: gr.Button
) -> None:
    """Which event calls which handler. Everything but `stream` passes by the queue."""
    many = {**AT_ONCE, "trigger_mode": "multiple"}
    asked = [tab.chat, tab.notice, tab.banner, tab.order, tab.ticket, tab.busy]

    tab.box.submit(handlers.ask, [tab.box, model, tab.session], asked, **many)
    tab.box.submit(None, tab.box, tab.box, js=_SEND, **many)
    tab.chat.retry(handlers.retry, [model, tab.session], asked, **many)
    tab.ticket.change(
        handlers.stream,
        tab.session,
        [tab.chat, tab.busy],
        trigger_mode="multiple",
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )
    tab.box.stop(handlers.stop, tab.session, [tab.chat, tab.busy], **many)
    tab.busy.change(None, tab.busy, None, js=_BUSY, **AT_ONCE)

    # a dropped picture is opened before it is sent; typing alone asks nothing of the server
    tab.box.change(None, tab.box, tab.files, js=_FILES, **AT_ONCE)
    tab.files.change(
        handlers.prepare, tab.box, [tab.notice, tab.order], **AT_ONCE, trigger_mode="always_last"
    )
    tab.order.change(None, [tab.box, tab.order], tab.box, js=_OBEY, **AT_ONCE)

    tab.edit.click(
        handlers.edit, [tab.edited, tab.session], [tab.box, tab.banner], js=_EDITED, **AT_ONCE
    )
    tab.cancel_edit.click(handlers.cancel_edit, tab.session, [tab.box, tab.banner], **AT_ONCE)
    cleared = [tab.chat, tab.notice, tab.banner, tab.busy]
    gr.on([new_chat.click, tab.chat.clear], handlers.clear, tab.session, cleared, **AT_ONCE)


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
