"""An answer is stopped at any moment: the worker is free at once, and nothing stays behind."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen_ui.engines.kv import open_cache
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.types import FinishReason
from tests.engines.test_reuse import CONVERSATIONS, open_engine
from tests.engines.tiny import ask, save_tiny, submit

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
