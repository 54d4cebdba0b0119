"""Engines of a server that obeys the tests, and what they are asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from qwen_ui.engines.base import EngineSpec
from qwen_ui.engines.openai import OpenAIEngine
from qwen_ui.engines.scripted import scripted_spec
from qwen_ui.errors import QwenUIError
from qwen_ui.types import Message
from tests.engines.openai_server import MODEL, OpenAIServer
from tests.engines.tiny import Heard

QUESTION = Message("user", ("what is this",))
KEY = "sk-do-not-tell"
Made = Callable[..., OpenAIEngine]


def remote_spec(revision: str = "untold", *, thinking: bool = False) -> EngineSpec:
    spec = scripted_spec(MODEL, revision)
    return replace(spec, engine="openai", remote=True, thinking=thinking, max_pixels=1 << 16)


@contextmanager
def open_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.kill()


@contextmanager
def engines_of(server: OpenAIServer) -> Iterator[Made]:
    """Makes engines, and closes them."""
    made: list[OpenAIEngine] = []

    def make(*, thinking: bool = False, **options: Any) -> OpenAIEngine:
        spec = remote_spec(thinking=thinking)
        made.append(OpenAIEngine(spec, {server.url: KEY}, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def error_of(heard: Heard) -> QwenUIError:
    return heard.failure.error


def once_asked(server: OpenAIServer, times: int = 1) -> None:
    deadline = time.monotonic() + 10
    while len(server.asked) < times:
        assert time.monotonic() < deadline, "it was not asked"
        time.sleep(0.002)
