"""A service over two scripted models, and a page in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_ui.ui.handlers import ChatHandlers
from tests.pictures import photo, saved
from tests.service import Chat, ScriptedSource
from tests.ui.page import Visitor


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path, ScriptedSource(), ScriptedSource("other"), keep_loaded=2)
    yield chat
    await chat.close()


@pytest.fixture
def handlers(chat: Chat) -> ChatHandlers:
    return ChatHandlers(chat.service, chat.settings)


@pytest.fixture
def page(handlers: ChatHandlers) -> Visitor:
    return Visitor(handlers)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    path.write_bytes(saved(photo()))
    return path
