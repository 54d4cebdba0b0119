"""What happens when a visitor asks, stops, retries, edits. No components here, only values.

Everything but `stream` runs outside Gradio's queue, so that neither a hit nor Stop ever waits
behind a model; `stream` is the one queued event, and only a miss leads to it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypedDict
from weakref import WeakValueDictionary

import gradio as gr

from qwen_ui.chat import ChatService
from qwen_ui.errors import BadRequest, GenerationFailed, PictureGone, QwenUIError
from qwen_ui.settings import Settings
from qwen_ui.types import Attachment, Message, Visitor
from qwen_ui.ui import parts
from qwen_ui.ui.asking import Asker
from qwen_ui.ui.i18n import Texts, texts_for
from qwen_ui.ui.pacing import paced
from qwen_ui.ui.session import Notice, Session
from qwen_ui.ui.view import ChatMessage, Reads, messages

log = logging.getLogger(__name__)

_REDRAW_EVERY_S = 0.04  # the browser draws no more than about 25 answers a second

# the chat, and `parts.told`: plain values both, since Gradio builds a component and its JSON schema
# (3 ms) for every update or `gr.skip()` it is given
Shown = tuple[list[ChatMessage], str]


class BoxValue(TypedDict):
    """What the text box holds; files are paths of Gradio's uploads."""

    text: str
    files: list[str]


class ChatHandlers:
    """The events of the chat. One object serves every visitor; what is theirs is in Session."""

    def __init__(self, service: ChatService, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def prepare(
        self, box: BoxValue, model: str, session: Session, request: gr.Request
    ) -> str | dict[str, Any]:
        """Open dropped files before they are sent, and let the model look at them; the box drops
        those that are refused.

        Tells nothing where it has nothing to tell: it may arrive after the answer to a question
        that was sent meanwhile, and what that one told is to stay.
        """
        say = texts_for(request)
        pictures, refused, sentences = self._open_all(box["files"], say)
        if pictures:
            shown = Message("user", tuple(part for picture in pictures for part in picture.parts))
            asked = [*session.conversation.history(), shown]
            self._service.prepare(asked, model=model, visitor=_visitor(session, request))
        if not refused and session.notice is None:
            nothing: dict[str, Any] = gr.skip()
            return nothing
        session.tell(Notice(sentences, refused) if refused else None)
        return parts.told(session, say)

    def ask(self, box: BoxValue, model: str, session: Session, request: gr.Request) -> Shown:
        """A stored answer at once, or a ticket for `stream`. The box is given back on errors."""
        say = texts_for(request)
        with session.asking:
            pictures, refused, sentences = self._open_all(box["files"], say)
            try:
                if not refused:
                    self._asker(session, request).ask(box["text"], pictures, model)
            except BadRequest as error:
                sentences = (*sentences, say.error(error))
            if sentences:
                session.tell(Notice(sentences, refused, give_back=True))
            return self.shown(session, say)

    def retry(self, model: str, session: Session, request: gr.Request) -> Shown:
        """Ask the last question again; an answer that came is not taken from the cache."""
        with session.asking:
            self._asker(session, request).again(model)
            return self.shown(session, texts_for(request))

    def suggested(self, name: str, session: Session, request: gr.Request) -> Shown:
        """Ask a suggested question in the place of the last one."""
        say = texts_for(request)
        with session.asking:
            try:
                self._asker(session, request).instead(name)
            except BadRequest as error:
                session.tell(Notice((say.error(error),)))
            return self.shown(session, say)

    def explain(self, id: str, session: Session, request: gr.Request) -> Shown:
        """Say under an answer why it was not in the cache. Not under `asking`: it may take long."""
        say = texts_for(request)
        try:
            self._asker(session, request).explain(int(id) if id.isdecimal() and len(id) < 10 else 0)
        except QwenUIError as error:
            session.tell(Notice((say.error(error),)))
        return self.shown(session, say)

    async def stream(self, session: Session, request: gr.Request) -> AsyncGenerator[Shown]:
        """The running answer as chat views; closing the stream stops the model."""
        say = texts_for(request)
        self._sessions[request.session_hash or ""] = session
        run = session.begin()
        if run is None:
            return
        try:
            events = self._service.run(run.pending)
            session.hear(run, [await anext(events)])  # the cache's word: nothing to draw yet
            async with aclosing(paced(events, _REDRAW_EVERY_S)) as batches:
                async for batch in batches:
                    session.hear(run, batch)
                    yield self.shown(session, say)
        except QwenUIError as error:
            session.fail(run, error)
        except Exception as error:  # the request boundary: a visitor gets a sentence
            log.exception("an answer failed")
            session.fail(run, GenerationFailed(type(error).__name__))
        yield self.shown(session, say)

    def stop(self, session: Session, request: gr.Request) -> Shown:
        """End the running answer within one token."""
        session.stop()
        return self.shown(session, texts_for(request))

    def edit(self, number: int, session: Session, request: gr.Request) -> tuple[BoxValue, str]:
        """Put the `number`th question back into the box; sending it cuts the conversation there."""
        turns = session.conversation.turns
        box = BoxValue(text="", files=[])
        if 0 <= number < len(turns):
            session.edit(turns[number].id)
            box["text"] = turns[number].text
        return box, parts.told(session, texts_for(request))

    def cancel_edit(self, session: Session, request: gr.Request) -> tuple[BoxValue, str]:
        session.edit(None)
        return {"text": "", "files": []}, parts.told(session, texts_for(request))

    def clear(self, session: Session, request: gr.Request) -> Shown:
        """A new conversation."""
        session.clear()
        return self.shown(session, texts_for(request))

    def leave(self, request: gr.Request) -> None:
        """The page was closed: nobody reads the answer any more."""
        session = self._sessions.get(request.session_hash or "")
        if session is not None:
            session.stop()

    def shown(self, session: Session, say: Texts) -> Shown:
        """The page as the session is now."""
        view = messages(session.conversation, say, self._reads)
        return view, parts.told(session, say)

    def _asker(self, session: Session, request: gr.Request) -> Asker:
        return Asker(self._service, session, _visitor(session, request))

    def _reads(self, model: str) -> Reads:
        """How this model reads pictures and videos."""
        for info in self._service.models():
            if info.name == model and info.max_pixels:
                return Reads(info.max_pixels, info.native_video)
        return Reads(self._settings.max_pixels)

    def _open_all(
        self, files: list[str], say: Texts
    ) -> tuple[tuple[Attachment, ...], tuple[str, ...], tuple[str, ...]]:
        """The pictures and videos, the paths of those that were refused, and why."""
        pictures, refused, sentences = [], [], []
        for path in files:
            try:
                pictures.append(self._open(Path(path)))
            except QwenUIError as error:
                refused.append(path)
                sentences.append(say.error(error))
        return tuple(pictures), tuple(refused), tuple(sentences)

    def _open(self, file: Path) -> Attachment:
        try:
            data = file.read_bytes()
        except OSError as error:  # Gradio has removed the upload
            raise PictureGone from error
        return self._service.open_upload(data, file.name)


def _visitor(session: Session, request: gr.Request) -> Visitor:
    """Who asks: by Gradio's login where there is one, and the open page."""
    user = f"login:{request.username}" if request.username else None
    return Visitor(user=user, session=session.id)
