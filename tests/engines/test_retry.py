"""Out of memory: once more, unseen, or a clear error."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from qwen_ui.engines.base import Completion, EngineEvent, GenerationRequest, Job, Sampling
from qwen_ui.engines.retry import run_with_retry
from qwen_ui.errors import GenerationFailed, OutOfMemory
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason

DONE = Completion(FinishReason.STOP, 1, 3, 0.0, 0.0, 0.0)


class Script:
    """Says the words of one try after another; "!" is where memory runs out."""

    def __init__(self, *tries: str) -> None:
        self.tries: Iterator[str] = iter(tries)
        self.freed = 0
        self.heard: list[EngineEvent] = []
        self.job = Job(GenerationRequest((), Sampling(), 9), self.heard.append)

    def run(self, job: Job) -> Completion:
        for word in next(self.tries).split():
            if word == "!":
                raise OutOfMemory
            job.listener(TextDelta(word))
        return DONE

    def free(self) -> None:
        self.freed += 1

    def answer(self) -> Completion:
        return run_with_retry(self.run, self.job, self.free)

    @property
    def text(self) -> str:
        return " ".join(event.text for event in self.heard if isinstance(event, TextDelta))


def test_an_answer_that_fits_is_run_once() -> None:
    script = Script("a b c")
    assert script.answer() == DONE
    assert (script.text, script.freed) == ("a b c", 0)


@pytest.mark.parametrize("first", ["!", "a !", "a b !", "a b c !"])
def test_the_second_try_goes_on_where_the_first_had_come_to(first: str) -> None:
    script = Script(first, "a b c")
    assert script.answer() == DONE
    assert (script.text, script.freed) == ("a b c", 1)


@pytest.mark.parametrize("second", ["!", "a !", "a b c d !"])
def test_memory_that_runs_out_twice_is_an_error(second: str) -> None:
    script = Script("a b !", second, "a b c")
    with pytest.raises(OutOfMemory):
        script.answer()
    assert script.freed == 1


def test_a_second_try_that_says_otherwise_is_an_error_and_is_not_shown() -> None:
    script = Script("a b !", "a x c")
    with pytest.raises(OutOfMemory):
        script.answer()
    assert script.text == "a b"


def test_a_second_try_that_says_less_is_an_error() -> None:
    script = Script("a b c !", "a")
    with pytest.raises(OutOfMemory):
        script.answer()
    assert script.text == "a b c"


def test_a_stopped_answer_is_not_tried_again() -> None:
    script = Script("a !", "a b c")
    script.job.cancel()
    with pytest.raises(OutOfMemory):
        script.answer()
    assert script.freed == 0


def test_other_failures_are_not_tried_again() -> None:
    script = Script("a")

    def fail(job: Job) -> Completion:
        raise GenerationFailed("x")

    with pytest.raises(GenerationFailed):
        run_with_retry(fail, script.job, script.free)
    assert script.freed == 0


@pytest.mark.parametrize("tries", [("a b c",), ("a !", "a b c"), ("!", "!")])
def test_the_job_keeps_its_listener(tries: tuple[str, ...]) -> None:
    script = Script(*tries)
    before = script.job.listener
    with suppress(OutOfMemory):
        script.answer()
    assert script.job.listener == before


def test_what_the_first_try_held_is_gone_when_memory_is_freed() -> None:
    class Tensor:
        pass

    alive: list[weakref.ref[Tensor]] = []
    seen: list[object] = []

    def run(job: Job) -> Completion:
        held = Tensor()
        if not alive:
            alive.append(weakref.ref(held))
            raise OutOfMemory from MemoryError()
        return DONE

    def free() -> None:
        gc.collect()
        seen.append(alive[0]())

    run_with_retry(run, Script().job, free)
    assert seen == [None]
