"""An answer is stopped at any moment: the worker is free at once, and nothing stays behind."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qwen_ui.engines.base import GenerationRequest, Sampling
from qwen_ui.engines.kv import open_cache
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.types import FinishReason, Message
from tests.engines.conversations import CONVERSATIONS, open_engine
from tests.engines.tiny import Heard, ask, save_tiny, submit

TOKENS = 40


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    opened = open_engine(save_tiny(tmp_path_factory.mktemp("tiny")), "bfloat16")
    yield opened
    opened.close()


class Begun:
    """Counts the forwards that begin after `job` was stopped."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.job: Any = None
        self.late = 0
        model = engine._machine.model.model
        self._hooks = [
            part.register_forward_pre_hook(self._look)
            for part in (model.language_model, model.visual)
        ]

    def _look(self, *_: object) -> None:
        self.late += self.job is not None and self.job.stop.is_set()

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


@pytest.mark.soak
def test_stopped_at_any_moment_nothing_is_left_and_the_worker_is_free(
    engine: TransformersEngine,
    repetitions: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(4)
    began = time.perf_counter()
    alone = {n: ask(engine, *m, max_tokens=TOKENS).text for n, m in CONVERSATIONS.items()}
    longest_s = 1.5 * (time.perf_counter() - began) / len(alone)
    caches: list[weakref.ref[Any]] = []

    def watched(*args: Any) -> Any:
        cache = open_cache(*args)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr("qwen_ui.engines.prefill.open_cache", watched)
    threads, begun, reasons = threading.active_count(), Begun(engine), set()
    for _ in range(repetitions(200)):
        if chance.random() < 0.3:
            engine.forget()
        name = chance.choice(list(CONVERSATIONS))
        begun.job, begun.late = None, 0
        begun.job, heard = submit(engine, *CONVERSATIONS[name], max_tokens=TOKENS)
        time.sleep(chance.random() * longest_s)
        begun.job.cancel()
        heard.wait()
        reasons.add(heard.completion.reason)
        assert begun.late <= 1  # it may have looked just before
        other = chance.choice(list(CONVERSATIONS))
        begun.job = None
        assert ask(engine, *CONVERSATIONS[other], max_tokens=TOKENS).text == alone[other]
    begun.close()
    assert FinishReason.CANCELLED in reasons
    assert threading.active_count() == threads
    gc.collect()
    assert [cache for cache in caches if cache() is not None] == []


def test_a_picture_that_is_being_encoded_is_stopped_between_layers(
    engine: TransformersEngine,
) -> None:
    engine.forget()
    blocks = engine._machine.model.model.visual.blocks
    ran: list[int] = []
    job: Any = None

    def stop(number: int) -> Callable[..., None]:
        def hook(*_: object) -> None:
            ran.append(number)
            job.stop.set()

        return hook

    hooks = [block.register_forward_hook(stop(n)) for n, block in enumerate(blocks)]
    submitted = threading.Event()
    first = blocks[0].register_forward_pre_hook(lambda *_: submitted.wait(10) and None)
    job, heard = submit(engine, *CONVERSATIONS["one picture"])
    submitted.set()
    heard.wait()
    for hook in (first, *hooks):
        hook.remove()
    assert ran == [0]
    assert heard.completion.reason is FinishReason.CANCELLED
    assert engine._known.features.nbytes == 0


class Encoding:
    """The encoder, held before its second layer. `ran` has a number for each layer that ran."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.ran: list[int] = []
        self._begun, self._go = threading.Event(), threading.Event()
        blocks = engine._machine.model.model.visual.blocks
        self.depth = len(blocks)
        self._hooks = [b.register_forward_hook(self._count(n)) for n, b in enumerate(blocks)]
        self._hooks.append(blocks[1].register_forward_pre_hook(self._hold))

    def _count(self, number: int) -> Callable[..., None]:
        return lambda *_: self.ran.append(number)

    def _hold(self, *_: object) -> None:
        self._begun.set()
        assert self._go.wait(20)

    def begun(self) -> None:
        assert self._begun.wait(20)

    def go_on(self) -> None:
        self._go.set()

    def close(self) -> None:
        self.go_on()
        for hook in self._hooks:
            hook.remove()


@contextmanager
def preparing(engine: TransformersEngine, *messages: Message) -> Iterator[Encoding]:
    """An engine that encodes the first picture of these messages, and knows nothing yet."""
    engine.forget()
    encoding = Encoding(engine)
    job = engine.prepare(messages)
    encoding.begun()
    yield encoding
    job.cancel()
    encoding.close()


def test_a_picture_that_the_question_needs_is_encoded_once(engine: TransformersEngine) -> None:
    alone = ask(engine, *CONVERSATIONS["another question"]).text
    with preparing(engine, *CONVERSATIONS["one picture"]) as encoding:
        _, heard = submit(engine, *CONVERSATIONS["another question"])
        encoding.go_on()
        heard.wait()
        assert encoding.ran == list(range(encoding.depth))
    assert heard.text == alone
    assert (heard.completion.known_pictures, heard.completion.cached_tokens) == (1, 0)


def test_no_more_than_that_picture_is_waited_for(engine: TransformersEngine) -> None:
    with preparing(engine, *CONVERSATIONS["two pictures"]) as encoding:
        _, heard = submit(engine, *CONVERSATIONS["two pictures"])
        encoding.go_on()
        heard.wait()
    assert heard.completion.cached_tokens == 0  # the text model was left at once
    assert heard.completion.known_pictures == 1


@pytest.mark.parametrize("asked", ["another picture of the same size", "one picture", "text"])
def test_a_question_waits_for_no_picture_that_it_does_not_need(
    engine: TransformersEngine, asked: str
) -> None:
    with preparing(engine, *CONVERSATIONS["the other order"]) as encoding:
        _, heard = submit(engine, *CONVERSATIONS[asked])
        encoding.go_on()
        heard.wait()
        anew = [] if asked == "text" else list(range(encoding.depth))
        assert encoding.ran == [0, *anew]


def test_a_question_waits_for_no_picture_of_those_it_shares_nothing_with(
    engine: TransformersEngine,
) -> None:
    heard = Heard()
    with preparing(engine, *CONVERSATIONS["one picture"]) as encoding:
        asked = GenerationRequest(CONVERSATIONS["one picture"], Sampling(), 1, sharing="others")
        engine.submit(asked, heard)
        encoding.go_on()
        heard.wait()
    assert encoding.ran == [0, *range(encoding.depth)]


def test_what_is_given_up_is_stopped_in_the_midst_of_a_needed_picture(
    engine: TransformersEngine,
) -> None:
    engine.forget()
    encoding = Encoding(engine)
    job = engine.prepare(CONVERSATIONS["one picture"])
    encoding.begun()
    _, heard = submit(engine, *CONVERSATIONS["one picture"])
    job.cancel()
    encoding.go_on()
    heard.wait()
    encoding.close()
    assert encoding.ran == [0, *range(encoding.depth)]


def test_an_idle_model_that_prepares_is_free_for_a_question(engine: TransformersEngine) -> None:
    engine.forget()
    alone = ask(engine, *CONVERSATIONS["one picture"]).text
    engine.forget()
    for _ in range(5):
        engine.prepare(CONVERSATIONS["two pictures"])
        assert ask(engine, *CONVERSATIONS["one picture"]).text == alone


def test_preparing_leaves_the_picture_known(engine: TransformersEngine) -> None:
    engine.forget()
    engine.prepare(CONVERSATIONS["one picture"])
    while engine._known.prefixes.host_bytes == 0:
        time.sleep(0.01)
    end = ask(engine, *CONVERSATIONS["another question"]).completion
    assert (end.known_pictures, end.cached_tokens > 0) == (1, True)
