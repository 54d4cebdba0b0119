"""What goes wrong with another server, and what is told of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from qwen_ui import remote_errors
from qwen_ui.engines.base import (
    Failure,
    GenerationRequest,
    Sampling,
)
from qwen_ui.engines.openai_exchange import Patience
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason
from tests.engines.openai_server import (
    COUNTED,
    Answer,
    Handler,
    OpenAIServer,
    drops,
    hangs,
    refuses,
    says,
    says_then,
)
from tests.engines.remote_engines import (
    KEY,
    QUESTION,
    Made,
    engines_of,
    error_of,
    open_server,
)
from tests.engines.tiny import ask

QUICK = Patience(first_token_s=0.4, silence_s=0.3)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with open_server() as server:
        yield server


@pytest.fixture
def make(server: OpenAIServer) -> Iterator[Made]:
    with engines_of(server) as make:
        yield make


@pytest.mark.parametrize(
    "end",
    [
        lambda handler: handler.drop(),
        lambda handler: handler.end(None, None, done=False),
        lambda handler: handler.end(None, COUNTED),  # [DONE] alone does not say that it is whole
    ],
    ids=["dropped", "ended", "done"],
)
def test_an_answer_without_an_end_is_a_failure_and_is_not_asked_for_again(
    server: OpenAIServer, make: Made, end: Answer
) -> None:
    server.script.append(says_then(end))
    heard = ask(make(), QUESTION)
    assert heard.text == "one two "
    assert isinstance(error_of(heard), remote_errors.RemoteCut)
    assert len(server.asked) == 1


def test_an_answer_that_ended_is_whole_without_its_counts(server: OpenAIServer, make: Made) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(content="a")
        handler.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        handler.drop()

    server.script.append(answer)
    heard = ask(make(), QUESTION)
    assert (heard.text, heard.completion.reason) == ("a", FinishReason.STOP)


GARBAGE = says_then(lambda handler: handler.send("data: {oops\n\n"))


@pytest.mark.parametrize(
    "passing",
    [
        drops,
        refuses(429, {"error": {"message": "slow down"}}),
        refuses(429, "", retry_after="0.05"),
        refuses(503),
        refuses(500, "Internal Server Error", "text/plain"),
        refuses(200, "<html>hello</html>", "text/html"),
        refuses(200, "{oops"),
        refuses(200, "[1, 2]"),
        refuses(200, '{"choices": 7}'),
        says(reason=None),
    ],
    ids=lambda answer: getattr(answer, "__name__", None),
)
def test_what_may_pass_is_asked_again_before_the_first_word(
    server: OpenAIServer, make: Made, passing: Answer
) -> None:
    server.script.append(passing)
    heard = ask(make(), QUESTION)
    assert heard.text == "one two three"
    assert len(server.asked) == 2


def test_a_server_that_asks_for_a_long_wait_is_not_waited_for(
    server: OpenAIServer, make: Made
) -> None:
    server.otherwise = refuses(429, "", retry_after="3600")
    assert isinstance(error_of(ask(make(), QUESTION)), remote_errors.RemoteBusy)
    assert len(server.asked) == 1


CONTEXT = "This model's maximum context length is 4096 tokens. However, you requested 9999 tokens"


@pytest.mark.parametrize(
    ("answer", "kind", "asked"),
    [
        (refuses(401, {"error": {"message": f"Incorrect key {KEY}"}}), "RemoteRefused", 1),
        (refuses(403), "RemoteRefused", 1),
        (refuses(404, {"error": {"message": "no such model"}}), "RemoteLacksModel", 1),
        (refuses(400, {"object": "error", "message": CONTEXT}), "RemoteContextTooLong", 2),
        (refuses(400, {"error": {"message": "exceeds the available context size"}}),
         "RemoteContextTooLong", 2),
        (refuses(413, "too large", "text/plain"), "RemoteTooBig", 1),
        (refuses(400, {"error": {"message": f"bad role, {KEY}"}}), "RemoteFailed", 1),
        (refuses(301, "", location="http://elsewhere/"), "RemoteFailed", 1),
        (refuses(429), "RemoteBusy", 3),
        (refuses(500, "<html>a page of a proxy</html>", "text/html"), "RemoteFailed", 3),
        (refuses(200, "{oops"), "RemoteFailed", 3),
        (says("", reason="content_filter"), "RemoteFiltered", 1),
        (says("", reason="tool_calls"), "RemoteFailed", 1),
        (says("", reason="abort"), "RemoteCut", 1),
        (refuses(400, {"error": {"message": "model 'x' not found"}}), "RemoteLacksModel", 1),
        (refuses(500, {"error": {"message": "image input is not supported - hint: mmproj"}}),
         "RemoteFailed", 1),
    ],
)  # fmt: skip
def test_errors_are_one_clear_sentence_that_does_not_tell_the_key(
    server: OpenAIServer, make: Made, answer: Answer, kind: str, asked: int
) -> None:
    server.otherwise = answer
    error = error_of(ask(make(), QUESTION))
    assert type(error).__name__ == kind
    said = f"{error} {error.params}"
    assert "\n" not in said
    assert KEY not in said
    assert "<html>" not in said
    assert len(server.asked) == asked


NO_ROOM = "max_tokens=4000 cannot be greater than max_model_len=2048. Please request fewer tokens."


@pytest.mark.parametrize("refusal", [CONTEXT, NO_ROOM])
@pytest.mark.parametrize(
    ("ended", "usage", "reason"),
    [
        ("stop", COUNTED, FinishReason.STOP),
        ("length", COUNTED, FinishReason.CONTEXT),
        ("length", None, FinishReason.CONTEXT),
    ],
)
def test_where_there_is_no_room_for_the_longest_answer_a_shorter_one_may_come(
    server: OpenAIServer, make: Made, refusal: str, ended: str, usage: Any, reason: FinishReason
) -> None:
    """As in our own engine, an answer that fills the context is no whole one."""
    server.script += [refuses(400, {"message": refusal}), says("one ", reason=ended, usage=usage)]
    engine = make()
    heard = ask(engine, QUESTION, max_tokens=4000)
    assert (heard.text, heard.completion.reason) == ("one ", reason)
    assert [body.get("max_tokens") for body, _ in server.asked] == [4000, None]
    ask(engine, QUESTION, max_tokens=4000)
    assert server.body["max_tokens"] == 4000


def test_an_error_in_the_stream_is_the_error_that_it_tells(
    server: OpenAIServer, make: Made
) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.event({"error": {"message": CONTEXT, "code": 400}})

    server.script += [answer, answer]
    assert isinstance(error_of(ask(make(), QUESTION)), remote_errors.RemoteContextTooLong)
    server.script.append(
        says_then(lambda handler: handler.event({"error": {"message": "CUDA died"}}))
    )
    heard = ask(make(), QUESTION)
    assert heard.text == "one two "
    assert "CUDA died" in str(error_of(heard))
    assert len(server.asked) == 3


def test_garbage_in_mid_answer_ends_it(server: OpenAIServer, make: Made) -> None:
    server.script.append(GARBAGE)
    heard = ask(make(), QUESTION)
    assert heard.text == "one two "
    assert isinstance(error_of(heard), remote_errors.RemoteFailed)
    assert len(server.asked) == 1


def test_a_sign_of_life_between_two_words_is_waited_for(server: OpenAIServer, make: Made) -> None:
    """llama.cpp sends comments while it encodes the picture of another question."""

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(content="one ")
        for _ in range(4):
            time.sleep(QUICK.silence_s / 2)
            handler.send(":\n\n")
        handler.say(content="two")
        handler.end()

    server.script.append(answer)
    assert ask(make(patience=QUICK), QUESTION).text == "one two"
    assert len(server.asked) == 1


def test_a_server_that_says_nothing_is_given_up(server: OpenAIServer, make: Made) -> None:
    server.otherwise = hangs
    error = error_of(ask(make(patience=QUICK), QUESTION))
    assert isinstance(error, remote_errors.RemoteSlow)
    assert error.params == {"seconds": 1}
    assert server.left.wait(5)
    assert len(server.asked) == 1


def test_a_server_that_falls_silent_is_given_up(server: OpenAIServer, make: Made) -> None:
    server.script.append(says_then(hangs))
    heard = ask(make(patience=QUICK), QUESTION)
    assert heard.text == "one two "
    assert isinstance(error_of(heard), remote_errors.RemoteSlow)
    assert server.left.wait(5)


def test_a_slow_server_that_goes_on_is_waited_for(server: OpenAIServer, make: Made) -> None:
    def slowly(handler: Handler) -> None:
        handler.begin()
        for _ in range(6):
            time.sleep(0.15)  # in sum more than QUICK waits for one word
            handler.say(content="word ")
        handler.end()

    server.script.append(slowly)
    assert ask(make(patience=QUICK), QUESTION).text == "word " * 6


def test_a_listener_that_fails_ends_its_own_answer_only(server: OpenAIServer, make: Made) -> None:
    engine, ends = make(), []
    told = threading.Event()

    def listener(event: object) -> None:
        if isinstance(event, TextDelta):
            raise RuntimeError("a reader's fault")
        ends.append(event)
        told.set()

    engine.submit(GenerationRequest((QUESTION,), Sampling(), 9), listener)
    assert told.wait(10)
    assert isinstance(ends[0], Failure)
    assert ask(engine, QUESTION).text == "one two three"
