"""Several servers of one model: who is asked, who is left alone, and who may answer at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from qwen_ui import remote_errors
from qwen_ui.engines import endpoints
from qwen_ui.engines.openai import OpenAIEngine
from qwen_ui.engines.openai_exchange import Patience
from qwen_ui.engines.remote_identity import ask_identity, revision_of
from qwen_ui.engines.trouble import Trouble
from qwen_ui.types import Message
from tests.engines.openai_server import (
    CARD,
    MODEL,
    OpenAIServer,
    drops,
    hangs,
    lists,
    refuses,
    says,
    says_then,
)
from tests.engines.remote_engines import remote_spec
from tests.engines.tiny import ask

QUESTION = Message("user", ("what is this",))
REVISION = revision_of({"owned_by": "vllm", "max_model_len": 4096})


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_PAUSES_S", (0.02, 0.05))
    monkeypatch.setattr(endpoints, "_FIRST_LOOK_S", 0.02)


class Two:
    """An engine with two servers of one model."""

    def __init__(self) -> None:
        self.first = OpenAIServer()
        self.second = OpenAIServer()
        self.first.otherwise, self.second.otherwise = says("first"), says("second")
        self.engine = self.over(self.first.url, self.second.url)

    def over(self, *urls: str) -> OpenAIEngine:
        patience = Patience(first_token_s=0.4, silence_s=0.4)
        return OpenAIEngine(remote_spec(REVISION), dict.fromkeys(urls), patience=patience)

    def ask(self) -> str:
        return ask(self.engine, QUESTION).text

    def until(self, answer: str) -> None:
        deadline = time.monotonic() + 20
        while self.ask() != answer:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def two() -> Iterator[Two]:
    two = Two()
    yield two
    two.engine.close()
    two.first.kill()
    two.second.kill()


def test_the_first_server_answers_while_it_can(two: Two) -> None:
    assert [two.ask() for _ in range(3)] == ["first"] * 3
    assert two.second.asked == []


def test_the_second_answers_where_the_first_fails_before_the_first_word(two: Two) -> None:
    for failing in (drops, refuses(500), refuses(401), refuses(404), refuses(429), hangs):
        two.first.script.append(failing)
        assert two.ask() == "second"


def test_a_question_that_one_refuses_is_not_shown_to_the_other(two: Two) -> None:
    two.first.script.append(refuses(400, {"detail": "bad"}))
    assert isinstance(ask(two.engine, QUESTION).failure.error, remote_errors.RemoteFailed)
    assert two.second.asked == []


def test_after_the_first_word_nobody_else_is_asked(two: Two) -> None:
    two.first.script.append(says_then(drops))
    heard = ask(two.engine, QUESTION)
    assert isinstance(heard.failure.error, remote_errors.RemoteCut)
    assert two.second.asked == []


def test_a_server_that_is_gone_is_left_alone_until_it_is_back(two: Two) -> None:
    assert two.ask() == "first"
    port = two.first.server_address[1]
    two.first.kill()
    assert two.ask() == "second"
    assert two.ask() == "second"
    two.first = OpenAIServer(port=port)
    two.first.otherwise = says("first again")
    two.until("first again")


def test_one_that_fails_three_times_in_a_row_is_left_alone(two: Two) -> None:
    first = two.first
    first.on_models = lambda handler: (lists(CARD) if first.probes == 1 else refuses(500))(handler)
    first.otherwise = refuses(500)
    assert [two.ask() for _ in range(6)] == ["second"] * 6
    assert len(first.asked) == 3
    first.on_models, first.otherwise = lists(CARD), says("well again")
    two.until("well again")


def test_when_all_are_gone_people_are_told_at_once(two: Two) -> None:
    two.first.kill()
    two.second.kill()
    for _ in range(2):
        began = time.monotonic()
        error = ask(two.engine, QUESTION).failure.error
        assert isinstance(error, remote_errors.RemoteDown)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "card",
    [CARD | {"max_model_len": 8192}, CARD | {"owned_by": "llamacpp"}, CARD | {"id": "another"}],
    ids=["length", "owner", "gone"],
)
def test_a_server_with_another_build_may_not_answer_in_its_name(
    two: Two, card: dict[str, Any]
) -> None:
    two.first.on_models = lists(card)
    assert two.ask() == "second"
    assert two.first.asked == []
    two.second.kill()
    failures = [ask(two.engine, QUESTION).failure.error for _ in range(2)]
    assert [type(error) for error in failures] == [
        remote_errors.RemoteDown,
        remote_errors.RemoteChanged,
    ]
    two.first.on_models = lists(CARD)
    two.until("first")


def test_a_server_that_was_restarted_with_another_build_is_noticed(two: Two) -> None:
    two.engine.close()
    two.engine = two.over(two.first.url)
    assert two.ask() == "first"
    port = two.first.server_address[1]
    two.first.kill()
    assert isinstance(ask(two.engine, QUESTION).failure.error, remote_errors.RemoteDown)
    two.first = OpenAIServer(port=port)
    two.first.on_models = lists(CARD | {"root": "/models/other"})
    deadline = time.monotonic() + 20
    while not isinstance(ask(two.engine, QUESTION).failure.error, remote_errors.RemoteChanged):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert two.first.asked == []


@pytest.fixture
def alone(two: Two, monkeypatch: pytest.MonkeyPatch) -> Two:
    """Only the first server is asked, has answered, and is looked at before each question."""
    monkeypatch.setattr(endpoints, "_SURE_FOR_S", 0.0)
    two.engine.close()
    two.engine = two.over(two.first.url)
    assert two.ask() == "first"
    return two


def test_one_that_was_restarted_with_another_build_while_nobody_asked_is_noticed(
    alone: Two,
) -> None:
    port = alone.first.server_address[1]
    alone.first.kill()
    alone.first = OpenAIServer(port=port)
    alone.first.on_models = lists(CARD | {"root": "/models/other"})
    assert isinstance(ask(alone.engine, QUESTION).failure.error, remote_errors.RemoteChanged)
    assert alone.first.asked == []


def told_by(card: dict[str, Any], model: str = MODEL) -> Any:
    server = OpenAIServer()
    server.on_models = lists(card)

    async def asked() -> Any:
        async with httpx.AsyncClient() as client:
            return await ask_identity(client, server.url, None, model)

    try:
        return asyncio.run(asked())
    finally:
        server.kill()


LLAMA = CARD | {"owned_by": "llamacpp", "aliases": [MODEL, "other-name"]}


def test_a_router_of_llama_cpp_is_the_same_before_and_after_it_loads() -> None:
    """`meta` is told only while the model is loaded."""
    meta = {"meta": {"size": 7, "n_params": 3}}
    asleep = told_by(LLAMA | {"status": {"value": "unloaded"}})
    assert told_by(LLAMA | {"status": {"value": "loaded"}} | meta) == asleep
    assert told_by(LLAMA | meta) != told_by(LLAMA)


def test_what_llama_cpp_has_not_is_not_answered_by_what_it_has() -> None:
    """It answers to any name."""
    assert told_by(LLAMA, "other-name") == told_by(LLAMA)
    with pytest.raises(Trouble) as caught:
        told_by(LLAMA, "another")
    assert isinstance(caught.value.error, remote_errors.RemoteLacksModel)


def test_one_that_is_loading_is_not_trusted_to_have_the_same_build(alone: Two) -> None:
    alone.first.on_models = refuses(503)
    asked = len(alone.first.asked)
    assert isinstance(ask(alone.engine, QUESTION).failure.error, remote_errors.RemoteBusy)
    assert len(alone.first.asked) == asked
