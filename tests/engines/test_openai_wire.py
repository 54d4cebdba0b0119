"""What another server is sent, and how its answer is heard."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator

import pytest
from PIL import Image as PILImage

from qwen_ui.engines.base import (
    Engine,
    Sampling,
)
from qwen_ui.errors import PictureGone
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import FinishReason, Image, Message
from tests.engines.openai_server import (
    COUNTED,
    MODEL,
    Handler,
    OpenAIServer,
    says,
    whole,
)
from tests.engines.remote_engines import (
    KEY,
    QUESTION,
    Made,
    engines_of,
    error_of,
    open_server,
)
from tests.engines.tiny import ask, picture


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with open_server() as server:
        yield server


@pytest.fixture
def make(server: OpenAIServer) -> Iterator[Made]:
    with engines_of(server) as make:
        yield make


# --- what is sent ------------------------------------------------------------------------------


def test_a_question_is_sent_as_it_is_greedily_and_with_the_key(
    server: OpenAIServer, make: Made
) -> None:
    engine: Engine = make()
    history = Message("user", ("hi",)), Message("assistant", ("hello",))
    ask(engine, Message("system", ("be brief",)), *history, QUESTION, max_tokens=7)
    assert server.body == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": "what is this"},
        ],
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    assert server.asked[-1][1]["Authorization"] == f"Bearer {KEY}"


def test_sampling_is_sent_with_its_seed(server: OpenAIServer, make: Made) -> None:
    ask(make(), QUESTION, sampling=Sampling(0.5, 0.9, 20, 7))
    sent = {name: server.body[name] for name in ("temperature", "top_p", "top_k", "seed")}
    assert sent == {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": 7}


def test_texts_and_pictures_keep_their_order_and_the_pixels_are_those_that_were_hashed(
    server: OpenAIServer, make: Made
) -> None:
    image = picture(seed=3)
    ask(make(), Message("user", ("before", image, "after", "and after")))
    before, shown, after, last = server.body["messages"][0]["content"]
    assert [before["text"], after["text"], last["text"]] == ["before", "after", "and after"]
    url = shown["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    sent = PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert (sent.mode, sent.size) == ("RGB", (image.width, image.height))
    assert sent.tobytes() == image.load().tobytes()


def test_a_picture_that_is_gone_is_the_error_and_nothing_is_sent(
    server: OpenAIServer, make: Made
) -> None:
    def gone() -> PILImage.Image:
        raise PictureGone

    heard = ask(make(), Message("user", (Image("0" * 64, 1, 1, gone), "what")))
    assert isinstance(error_of(heard), PictureGone)
    assert server.asked == []


@pytest.mark.parametrize("field", ["stream_options", "top_k", "seed"])
def test_a_field_that_a_server_refuses_is_left_out_from_then_on(
    server: OpenAIServer, make: Made, field: str
) -> None:
    def strict(handler: Handler) -> None:
        if field in server.body:
            handler.reply(422, {"detail": f"Unexpected fields in the request: {{'{field}'}}"})
        else:
            says("fine")(handler)

    server.otherwise = strict
    engine, sampling = make(), Sampling(0.5, 0.9, 20, 7)
    for _ in range(2):
        assert ask(engine, QUESTION, sampling=sampling).text == "fine"
    assert [field in body for body, _ in server.asked] == [True, False, False]


# --- what is heard -----------------------------------------------------------------------------


def test_pieces_come_in_order_and_then_one_completion_with_the_counts(
    server: OpenAIServer, make: Made
) -> None:
    usage = COUNTED | {"prompt_tokens_details": {"cached_tokens": 5}}
    server.script.append(says("a", "b", "c", usage=usage))
    heard = ask(make(), QUESTION)
    assert heard.events[:-1] == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
    end = heard.completion
    assert (end.reason, end.prompt_tokens, end.completion_tokens) == (FinishReason.STOP, 9, 3)
    assert end.cached_tokens == 5
    assert 0 < end.first_token_s <= end.elapsed_s
    assert 0 < end.busy_s <= end.elapsed_s


def test_a_server_that_does_not_stream_is_heard_at_once(server: OpenAIServer, make: Made) -> None:
    server.script.append(whole("all of it"))
    heard = ask(make(), QUESTION)
    assert heard.events[:-1] == [TextDelta("all of it")]
    assert heard.completion.completion_tokens == 3


def test_counts_that_nobody_tells_are_none(server: OpenAIServer, make: Made) -> None:
    server.script.extend([says("a", usage=None), says("b", usage={"completion_tokens": "many"})])
    engine = make()
    for text in ("a", "b"):
        heard = ask(engine, QUESTION)
        assert (heard.text, heard.completion.reason) == (text, FinishReason.STOP)
        assert heard.completion.completion_tokens == 0


def test_counts_beside_the_reason_and_no_done_are_enough(server: OpenAIServer, make: Made) -> None:
    """As `transformers serve` ends."""

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(content="a")
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        handler.event({"choices": [choice], "usage": COUNTED})
        handler.end(None, None, done=False)

    server.script.append(answer)
    assert ask(make(), QUESTION).completion.completion_tokens == 3


def test_a_server_that_never_closes_the_stream_is_not_waited_for(
    server: OpenAIServer, make: Made
) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(content="a")
        handler.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        handler.send("data: [DONE]\n\n")
        handler.hang()

    server.script.append(answer)
    began = time.monotonic()
    assert ask(make(), QUESTION).completion.reason is FinishReason.STOP
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("told", "counted", "meant"),
    [
        ("stop", 3, FinishReason.STOP),
        ("eos_token", 3, FinishReason.STOP),
        ("length", 12, FinishReason.LENGTH),  # what was asked for
        ("length", 3, FinishReason.CONTEXT),  # a limit of the server's own
        ("length", 0, FinishReason.LENGTH),  # not counted: never stored, see cache_store.shelf
    ],
)
def test_reasons_are_told_in_our_words(
    server: OpenAIServer, make: Made, told: str, counted: int, meant: FinishReason
) -> None:
    server.script.append(says("a", reason=told, usage={"completion_tokens": counted}))
    assert ask(make(), QUESTION, max_tokens=12).completion.reason is meant


def test_lines_end_at_line_feeds_only(server: OpenAIServer, make: Made) -> None:
    text = "one\u2028two\u0085three\x0cfour é 你好"

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(": keep-alive\r\n\r\nevent: message\r\nid: 1\r\n")
        handler.event({"type": "ping"})
        handler.event({"choices": [{"delta": {"content": text}}]})
        handler.end()

    server.script.append(answer)
    assert ask(make(), QUESTION).text == text


def test_pieces_of_the_network_are_not_pieces_of_the_stream(
    server: OpenAIServer, make: Made
) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        for byte in 'data: {"choices": [{"delta": {"content": "你好"}}]}\n\n'.encode():
            handler.wfile.write(b"1\r\n%c\r\n" % byte)
            handler.wfile.flush()
        handler.end()

    server.script.append(answer)
    assert ask(make(), QUESTION).text == "你好"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_that_the_server_parts_are_thoughts(
    server: OpenAIServer, make: Made, field: str
) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(**{field: "hm"})
        handler.say(**{field: "m\n"})
        handler.say(content="\n\nA circle")
        handler.end()

    server.script.append(answer)
    heard = ask(make(thinking=True), QUESTION)
    assert (heard.thought, heard.text) == ("hmm", "A circle")


def test_thoughts_between_marks_are_thoughts(server: OpenAIServer, make: Made) -> None:
    server.script.append(says("<thi", "nk>\nhm", "m\n</thi", "nk>\n\nA <think>", " circle"))
    heard = ask(make(), QUESTION)
    assert (heard.thought, heard.text) == ("hmm", "A <think> circle")
    assert isinstance(heard.events[0], ThoughtDelta)
