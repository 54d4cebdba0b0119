"""A chat whose model is another server's: what is kept, what is said of it, and when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_ui.engines.remote import RemoteSource, remote_source
from qwen_ui.events import RECORDED, ChatEvent
from qwen_ui.remote_errors import RemoteCut, RemoteDown
from qwen_ui.runs import Pending
from qwen_ui.types import FinishReason, SamplingParams
from qwen_ui.ui.badge import badge
from qwen_ui.ui.conversation import Turn
from qwen_ui.ui.i18n import texts
from tests.engines.openai_server import CARD, MODEL, OpenAIServer, drops, lists, says, says_then
from tests.engines.test_remote import settings
from tests.pictures import photo, saved
from tests.service import Chat, error_of, finish, is_hit, status, stored, text, until, usage


class Remote:
    """A chat over a remote model, and its server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = OpenAIServer()
        self.chat = self.open()

    def open(self, **settings: float) -> Chat:
        return Chat(self.directory, self.source(), **settings)  # type: ignore[arg-type]

    def source(self) -> RemoteSource:
        return remote_source(f"openai:{self.server.url}#{MODEL}", settings(self.directory))

    async def close(self) -> None:
        self.chat.service.close(0)
        self.server.kill()


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    remote = Remote(tmp_path)
    yield remote
    await remote.close()


async def test_an_answer_is_a_hit_until_and_after_the_server_is_gone(remote: Remote) -> None:
    chat = remote.chat
    picture = chat.service.open_picture(saved(photo())).image
    first = await chat.ask(picture, "what is this")
    assert (text(first), is_hit(first), stored(first)) == ("one two three", False, True)
    assert (usage(first).prompt_tokens, usage(first).completion_tokens) == (9, 3)
    assert text(hit := await chat.ask(picture, "what is this")) == "one two three"
    assert is_hit(hit)
    assert len(remote.server.asked) == 1

    remote.server.kill()
    assert is_hit(await chat.ask(picture, "what is this"))
    error = await error_of(chat.service.stream(chat.request(picture, "something else")))
    assert isinstance(error, RemoteDown)
    assert "cannot be reached. Start it" in str(error)


async def test_hits_are_served_after_a_restart_while_the_server_is_down(remote: Remote) -> None:
    await remote.chat.ask("what is this")
    remote.chat.service.close(0)
    remote.server.kill()
    remote.chat = remote.open()
    assert text(events := await remote.chat.ask("what is this")) == "one two three"
    assert is_hit(events)


async def test_a_hit_is_called_recorded_in_header_and_badge(remote: Remote) -> None:
    await remote.chat.ask("what is this")
    for question in ("what is this", "What is this?"):
        events = await remote.chat.ask(question)
        assert status(events).hit
        assert status(events).detail == RECORDED
        assert "detail=recorded" in status(events).header()
        turn = Turn(1, MODEL, question)
        for event in events:
            turn = turn.heard(event, 0.0)
        assert "recorded" in badge(turn, texts("en"))
    missed = await remote.chat.ask("another")
    assert status(missed).detail == "absent"


async def test_a_sampled_answer_is_neither_kept_nor_shared(remote: Remote) -> None:
    sampling = SamplingParams(temperature=1.0, seed=1)
    for times in (1, 2):
        events = await remote.chat.ask("what is this", sampling=sampling)
        assert not is_hit(events)
        assert not stored(events)
        assert len(remote.server.asked) == times


@pytest.mark.parametrize("reason", ["length", None, "content_filter"])
async def test_an_answer_that_is_not_whole_is_not_kept(remote: Remote, reason: str | None) -> None:
    remote.server.script.append(says("one ", reason=reason))
    stream = remote.chat.service.stream(remote.chat.request("what is this"))
    if reason == "length":  # cut before max_tokens, by a limit of the server's own
        assert [event async for event in stream][-1].reason is FinishReason.CONTEXT  # type: ignore[union-attr]
    else:
        await error_of(stream)
    assert not is_hit(await remote.chat.ask("what is this"))


async def test_a_server_killed_in_mid_answer_is_a_clear_error_and_nothing_is_kept(
    remote: Remote,
) -> None:
    remote.server.script.append(says_then(drops))
    events = remote.chat.service.stream(remote.chat.request("what is this"))
    assert isinstance(await error_of(events), RemoteCut)
    assert not is_hit(await remote.chat.ask("what is this"))


async def test_an_answer_without_counts_serves_those_who_ask_for_as_much(remote: Remote) -> None:
    remote.server.script.append(says("one", usage=None))
    asked = SamplingParams(max_tokens=50)
    assert stored(await remote.chat.ask("what", sampling=asked))
    for limit, expected in ((50, True), (51, True), (49, False)):
        again = SamplingParams(max_tokens=limit)
        assert is_hit(await remote.chat.ask("what", sampling=again)) is expected


async def test_stopping_closes_the_stream(remote: Remote) -> None:
    remote.server.script.append(says_then(lambda handler: handler.hang()))
    service, request = remote.chat.service, remote.chat.request("what is this")
    pending = await asyncio.to_thread(service.lookup, request)
    assert isinstance(pending, Pending)
    heard: list[ChatEvent] = []
    async for event in service.run(pending):
        heard.append(event)
        if text(heard):
            pending.stop()
    assert finish(heard).reason is FinishReason.CANCELLED
    await until(remote.server.left.is_set)


async def test_an_audit_tells_of_drift_and_deletes_nothing(remote: Remote) -> None:
    remote.chat.service.close(0)
    remote.chat = remote.open(audit_rate=1.0)
    chat = remote.chat
    await chat.ask("what is this")
    remote.server.otherwise = says("something else")
    assert is_hit(await chat.ask("what is this"))
    await until(lambda: chat.service.stats().audited_remote)
    stats = chat.service.stats()
    assert (stats.audited_remote, stats.drifted, stats.audited, stats.mismatched) == (1, 1, 0, 0)
    assert text(again := await chat.ask("what is this")) == "one two three"
    assert is_hit(again)


async def test_another_build_under_the_same_name_has_its_own_answers(remote: Remote) -> None:
    await remote.chat.ask("what is this")
    remote.chat.service.close(0)
    remote.server.on_models = lists(CARD | {"root": "/models/other"})
    remote.chat = remote.open()
    assert not is_hit(await remote.chat.ask("what is this"))
