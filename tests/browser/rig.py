"""The page over scripted models, served on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")  # as in qwen_ui/server.py

import gradio as gr

from qwen_ui.engines.scripted import ScriptedEngine
from qwen_ui.ui.app import build_page
from tests.service import Chat, ScriptedSource

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass(frozen=True)
class Served:
    """A launched page and what stands behind it."""

    url: str
    chat: Chat

    @property
    def engine(self) -> ScriptedEngine:
        """The engine of the first model."""
        return self.chat.engine


@contextmanager
def serve(*sources: ScriptedSource, **settings: Any) -> Iterator[Served]:
    """The real page over these models, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        chat = Chat(Path(folder), *sources, keep_loaded=len(sources) or 1, **settings)
        page = build_page(chat.service, chat.settings)
        chat.service.warm()
        wait_until(lambda: chat.sources[0].engines)
        with serve_blocks(page.blocks, **page.launch_options) as url:
            try:
                yield Served(url, chat)
            finally:
                for source in chat.sources:
                    source.gate.set()
                    for engine in source.engines:
                        engine.release()
        chat.service.close(0.0)


@contextmanager
def serve_blocks(blocks: gr.Blocks, **options: Any) -> Iterator[str]:
    """Launch, until the block ends; the address."""
    _, url, _ = blocks.queue(default_concurrency_limit=None).launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        quiet=True,
        **options,
    )
    try:
        yield str(url)
    finally:
        blocks.close(verbose=False)


def wait_until(reached: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
