"""The engine of other servers' models, against a server that misbehaves on command."""

from __future__ import annotations

import base64
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image as PILImage

from qwen_ui import errors, remote_errors
from qwen_ui.engines.base import (
    CANCELLED,
    Completion,
    Engine,
    EngineClosed,
    EngineSpec,
    Failure,
    GenerationRequest,
    Priority,
    Sampling,
)
from qwen_ui.engines.openai import SIDE_BY_SIDE, OpenAIEngine
from qwen_ui.engines.openai_exchange import Patience
from qwen_ui.engines.scripted import scripted_spec
from qwen_ui.errors import PictureGone, QwenUIError
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import FinishReason, Image, Message
from tests.engines.openai_server import (
    COUNTED,
    MODEL,
    Answer,
    Handler,
    OpenAIServer,
    drops,
    hangs,
    refuses,
    says,
    says_then,
    whole,
)
from tests.engines.tiny import Heard, ask, picture, submit

QUESTION = Message("user", ("what is this",))
KEY = "sk-do-not-tell"
QUICK = Patience(first_token_s=0.4, silence_s=0.3)


def remote_spec(revision: str = "untold", *, thinking: bool = False) -> EngineSpec:
    spec = scripted_spec(MODEL, revision)
    return replace(spec, engine="openai", remote=True, thinking=thinking, max_pixels=1 << 16)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.kill()


Made = Callable[..., OpenAIEngine]


@pytest.fixture
def make(server: OpenAIServer) -> Iterator[Made]:
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


# --- what goes wrong ---------------------------------------------------------------------------


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
        (refuses(400, {"object": "error", "message": CONTEXT}), "RemoteContextTooLong", 1),
        (refuses(400, {"error": {"message": "exceeds the available context size"}}),
         "RemoteContextTooLong", 1),
        (refuses(413, "too large", "text/plain"), "RemoteTooBig", 1),
        (refuses(400, {"error": {"message": f"bad role, {KEY}"}}), "RemoteFailed", 1),
        (refuses(301, "", location="http://elsewhere/"), "RemoteFailed", 1),
        (refuses(429), "RemoteBusy", 3),
        (refuses(500, "<html>a page of a proxy</html>", "text/html"), "RemoteFailed", 3),
        (refuses(200, "{oops"), "RemoteFailed", 3),
        (says("", reason="content_filter"), "RemoteFiltered", 1),
        (says("", reason="tool_calls"), "RemoteFailed", 1),
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


def test_an_error_in_the_stream_is_the_error_that_it_tells(
    server: OpenAIServer, make: Made
) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.event({"error": {"message": CONTEXT, "code": 400}})

    server.script.append(answer)
    assert isinstance(error_of(ask(make(), QUESTION)), remote_errors.RemoteContextTooLong)
    server.script.append(
        says_then(lambda handler: handler.event({"error": {"message": "CUDA died"}}))
    )
    heard = ask(make(), QUESTION)
    assert heard.text == "one two "
    assert "CUDA died" in str(error_of(heard))
    assert len(server.asked) == 2


def test_garbage_in_mid_answer_ends_it(server: OpenAIServer, make: Made) -> None:
    server.script.append(GARBAGE)
    heard = ask(make(), QUESTION)
    assert heard.text == "one two "
    assert isinstance(error_of(heard), remote_errors.RemoteFailed)
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


# --- many at once, stopping, closing -----------------------------------------------------------


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
