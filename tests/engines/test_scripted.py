"""The engine of the tests does what the tests believe it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from qwen_ui.engines.base import (
    Completion,
    Engine,
    EngineClosed,
    EngineEvent,
    Failure,
    GenerationRequest,
    Sampling,
)
from qwen_ui.engines.scripted import ScriptedEngine, scripted_spec
from qwen_ui.errors import GenerationFailed, PictureGone
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import FinishReason, Image, Message


class Heard(list[EngineEvent]):
    """A listener that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def __call__(self, event: EngineEvent) -> None:
        with self.changed:
            self.append(event)
            self.changed.notify_all()

    def wait(self, count: int) -> list[EngineEvent]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self) >= count, 10)
            return list(self)


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine(script=lambda _: ["a", "b", "<think>c", "d"])
    yield engine
    engine.close()


def request(*parts: str | Image, max_tokens: int = 100) -> GenerationRequest:
    return GenerationRequest((Message("user", parts or ("hi",)),), Sampling(), max_tokens)


def reason(event: EngineEvent) -> FinishReason:
    assert isinstance(event, Completion)
    return event.reason


def test_it_is_an_engine(engine: ScriptedEngine) -> None:
    typed: Engine = engine
    assert typed.spec == scripted_spec()


def test_it_says_its_script_and_thoughts_are_thoughts(engine: ScriptedEngine) -> None:
    heard = Heard()
    engine.submit(request(), heard)
    events = heard.wait(5)
    assert events[:4] == [TextDelta("a"), TextDelta("b"), ThoughtDelta("c"), TextDelta("d")]
    assert reason(events[4]) is FinishReason.STOP
    assert isinstance(events[4], Completion)
    assert events[4].completion_tokens == 4
    assert engine.computed == [request()]


@pytest.mark.parametrize(
    ("limit", "ended", "tokens"),
    [(3, FinishReason.LENGTH, 3), (4, FinishReason.STOP, 4), (5, FinishReason.STOP, 4)],
)
def test_it_obeys_the_limit(
    engine: ScriptedEngine, limit: int, ended: FinishReason, tokens: int
) -> None:
    heard = Heard()
    engine.submit(request(max_tokens=limit), heard)
    end = heard.wait(tokens + 1)[-1]
    assert isinstance(end, Completion)
    assert (end.reason, end.completion_tokens) == (ended, tokens)


def test_a_held_engine_lets_only_released_tokens_pass(engine: ScriptedEngine) -> None:
    engine.hold()
    heard = Heard()
    engine.submit(request(), heard)
    time.sleep(0.05)
    assert heard == []
    engine.release(2)
    heard.wait(2)
    time.sleep(0.05)
    assert len(heard) == 2
    assert engine.waiting == 1
    engine.release()
    assert reason(heard.wait(5)[-1]) is FinishReason.STOP


def test_a_cancelled_answer_ends_while_it_is_held(engine: ScriptedEngine) -> None:
    engine.hold()
    heard = Heard()
    job = engine.submit(request(), heard)
    engine.release(1)
    heard.wait(1)
    job.cancel()
    assert reason(heard.wait(2)[-1]) is FinishReason.CANCELLED


def test_it_fails_on_command_even_while_held_and_only_once(engine: ScriptedEngine) -> None:
    engine.hold()
    first, second = Heard(), Heard()
    engine.submit(request(), first)
    engine.submit(request(), second)
    error = GenerationFailed("boom")
    engine.fail_next(error)
    assert first.wait(1) == [Failure(error)]
    engine.release()
    assert reason(second.wait(5)[-1]) is FinishReason.STOP


def test_it_loads_the_pictures_as_a_real_engine_does(engine: ScriptedEngine) -> None:
    def gone() -> None:
        raise PictureGone

    heard = Heard()
    engine.submit(request(Image("0" * 64, 1, 1, gone)), heard)  # type: ignore[arg-type]
    end = heard.wait(1)[-1]
    assert isinstance(end, Failure)
    assert isinstance(end.error, PictureGone)


def test_a_closed_engine_says_so_and_has_finished_what_it_had() -> None:
    engine = ScriptedEngine(held=True)
    heard = Heard()
    engine.submit(request(), heard)
    engine.close()
    assert reason(heard[-1]) is FinishReason.STOP
    with pytest.raises(EngineClosed):
        engine.submit(request(), heard)
