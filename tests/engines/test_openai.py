"""The engine of other servers' models: many answers at once, stopping, closing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from qwen_ui import errors
from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    EngineClosed,
    Failure,
    GenerationRequest,
    Priority,
    Sampling,
)
from qwen_ui.engines.openai import SIDE_BY_SIDE, OpenAIEngine
from qwen_ui.types import FinishReason, Message
from tests.engines.openai_server import (
    Handler,
    OpenAIServer,
    hangs,
    says_then,
)
from tests.engines.remote_engines import (
    QUESTION,
    Made,
    engines_of,
    once_asked,
    open_server,
    remote_spec,
)
from tests.engines.tiny import Heard, ask, picture, submit


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with open_server() as server:
        yield server


@pytest.fixture
def make(server: OpenAIServer) -> Iterator[Made]:
    with engines_of(server) as make:
        yield make


def test_answers_run_side_by_side_and_the_rest_wait(server: OpenAIServer, make: Made) -> None:
    gate = threading.Event()

    def gated(handler: Handler) -> None:
        handler.begin()
        assert gate.wait(20)
        handler.say(content="go")
        handler.end()

    server.otherwise = gated
    engine = make(max_queue=2)
    heard = [submit(engine, QUESTION)[1] for _ in range(SIDE_BY_SIDE - 1)]
    assert engine.waiting == 0
    heard += [submit(engine, QUESTION)[1] for _ in range(3)]
    once_asked(server, SIDE_BY_SIDE)
    assert engine.waiting == 3
    with pytest.raises(errors.EngineBusy):
        submit(engine, QUESTION)
    time.sleep(0.05)
    assert len(server.asked) == SIDE_BY_SIDE
    gate.set()
    assert [one.wait().text for one in heard] == ["go"] * (SIDE_BY_SIDE + 2)
    assert engine.waiting == 0


def test_a_job_that_waits_leaves_the_queue_when_it_is_cancelled(
    server: OpenAIServer, make: Made
) -> None:
    server.otherwise = hangs
    engine = make()
    running = [submit(engine, QUESTION) for _ in range(SIDE_BY_SIDE)]
    once_asked(server, SIDE_BY_SIDE)
    job, heard = submit(engine, QUESTION)
    job.cancel()
    assert heard.wait().events == [CANCELLED]
    for job, heard in running:
        job.cancel()
        assert heard.wait().events == [CANCELLED]
    assert len(server.asked) == SIDE_BY_SIDE
    assert engine.waiting == 0


def test_cancelling_closes_the_stream_at_once(server: OpenAIServer, make: Made) -> None:
    server.script.append(says_then(hangs))
    job, heard = submit(make(), QUESTION)
    while not heard.text:
        time.sleep(0.002)
    began = time.monotonic()
    job.cancel()
    job.cancel()
    assert heard.wait().completion.reason is FinishReason.CANCELLED
    assert server.left.wait(5)
    assert time.monotonic() - began < 0.5
    job.cancel()  # late: nothing more is heard
    time.sleep(0.05)
    assert sum(isinstance(event, Completion | Failure) for event in heard.events) == 1


def test_cancelling_at_any_moment_frees_the_engine(
    server: OpenAIServer, make: Made, repetitions: Callable[[int], int]
) -> None:
    def slowly(handler: Handler) -> None:
        handler.begin()
        for _ in range(5):
            time.sleep(0.003)
            handler.say(content="word ")
        handler.end()

    server.otherwise = slowly
    engine, chance = make(), random.Random(1)
    for _ in range(repetitions(200)):
        job, heard = submit(engine, Message("user", (picture(), "what")))
        time.sleep(chance.random() * 0.03)
        job.cancel()
        heard.wait()
        ends = [event for event in heard.events if isinstance(event, Completion | Failure)]
        assert ends == [heard.events[-1]]
        assert isinstance(ends[0], Completion)
    assert engine.waiting == 0
    assert ask(engine, QUESTION).text == "word " * 5


def test_an_idle_job_gives_way(server: OpenAIServer, make: Made) -> None:
    server.script.extend([says_then(hangs), says_then(hangs)])
    engine, idle = make(), Heard()
    request = GenerationRequest((QUESTION,), Sampling(), 9)
    engine.submit(request, idle, priority=Priority.AUDIT)
    once_asked(server)
    assert engine.waiting == 0
    with pytest.raises(errors.EngineBusy):
        engine.submit(request, Heard(), priority=Priority.AUDIT)
    job, heard = submit(engine, QUESTION)
    assert idle.wait().completion.reason is FinishReason.CANCELLED
    with pytest.raises(errors.EngineBusy):
        engine.submit(request, Heard(), priority=Priority.AUDIT)
    once_asked(server, 2)
    job.cancel()
    heard.wait()
    engine.submit(request, idle := Heard(), priority=Priority.AUDIT)
    assert idle.wait().text == "one two three"


def test_closing_lets_answers_finish_and_ends_the_thread(server: OpenAIServer) -> None:
    def slowly(handler: Handler) -> None:
        handler.begin()
        time.sleep(0.2)
        handler.say(content="word")
        handler.end()

    server.otherwise = slowly
    engine = OpenAIEngine(remote_spec(), {server.url: None})
    _, heard = submit(engine, QUESTION)
    engine.close()
    assert heard.completion.reason is FinishReason.STOP
    with pytest.raises(EngineClosed):
        submit(engine, QUESTION)
    engine.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("engine-", "asyncio_"))}
