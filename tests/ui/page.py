"""One open page, driven as Gradio drives it, without a browser."""

from __future__ import annotations

import asyncio
import html
import json
import re
from pathlib import Path
from typing import Any

from qwen_ui.ui.handlers import BoxValue, ChatHandlers
from qwen_ui.ui.session import Session
from tests.service import Chat, until
from tests.ui.visitor import visitor


class Visitor:
    """One open page: sends, reads what is shown."""

    def __init__(
        self,
        handlers: ChatHandlers,
        language: str = "en",
        name: str = "one",
        user: str | None = None,
    ) -> None:
        self.handlers = handlers
        self.session = Session()
        self.request = visitor(language, name, user)
        self.model = "scripted"
        self.chat: list[dict[str, Any]] = []
        self.told = ""

    def send(self, text: str, *files: Path) -> None:
        box = BoxValue(text=text, files=[str(file) for file in files])
        self.chat, self.told = self.handlers.ask(box, self.model, self.session, self.request)

    def retry(self) -> None:
        self.chat, self.told = self.handlers.retry(self.model, self.session, self.request)

    def stop(self) -> None:
        self.chat, self.told = self.handlers.stop(self.session, self.request)

    def clear(self) -> None:
        self.chat, self.told = self.handlers.clear(self.session, self.request)

    def choose(self, name: str) -> None:
        """Click a suggestion."""
        self.chat, self.told = self.handlers.suggested(name, self.session, self.request)

    def why(self, turn: int | str) -> str:
        """Ask why a turn was a miss; what is shown last then."""
        self.chat, self.told = self.handlers.explain(str(turn), self.session, self.request)
        return self.last

    def drop(self, *files: Path) -> None:
        box = BoxValue(text="typed", files=[str(file) for file in files])
        told = self.handlers.prepare(box, self.model, self.session, self.request)
        if isinstance(told, str):
            self.told = told

    def edit(self, number: int) -> BoxValue:
        box, self.told = self.handlers.edit(number, self.session, self.request)
        return box

    async def read(self) -> list[str]:
        """Stream to the end; the last message after each step."""
        steps = []
        async for chat, told in self.handlers.stream(self.session, self.request):
            self.chat, self.told = chat, told
            steps.append(self.last)
        return steps

    async def ask(self, text: str, *files: Path) -> str:
        """Send, and read to the end if there is something to read."""
        before = self.ticket
        await asyncio.to_thread(self.send, text, *files)
        if self.ticket != before:
            await self.read()
        return self.last

    @property
    def shown(self) -> list[str]:
        """Each message's text, without markup."""
        joined = ("\n".join(part["text"] for part in one["content"]) for one in self.chat)
        return [html.unescape(re.sub(r"<[^>]*>", "", text)) for text in joined]

    @property
    def last(self) -> str:
        return self.shown[-1]

    @property
    def notice(self) -> str:
        return html.unescape("".join(re.findall(r'<div class="notice".*?</div>', self.told)))

    @property
    def banner(self) -> str:
        return html.unescape("".join(re.findall(r'<div class="editing".*?</div>', self.told)))

    @property
    def suggestions(self) -> dict[str, str]:
        """What is offered: text by the button's value."""
        buttons = re.findall(r'class="suggestion" value="([^"]*)"[^>]*>(.*?)</button>', self.told)
        return {html.unescape(n): html.unescape(re.sub(r"<[^>]*>", "", t)) for n, t in buttons}

    @property
    def order(self) -> dict[str, Any] | None:
        found = re.search(r'data-order="([^"]*)"', self.told)
        return json.loads(html.unescape(found[1])) if found else None

    @property
    def ticket(self) -> int:
        found = re.search(r'data-ticket="(\d+)"', self.told)
        return int(found[1]) if found else 0

    @property
    def busy(self) -> bool:
        return "data-busy" in self.told


async def held(chat: Chat) -> None:
    """Load the model, and let no token pass."""
    chat.service.warm()
    await until(lambda: chat.sources[0].engines)
    chat.engine.hold()
