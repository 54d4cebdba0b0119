"""Audits run on the real service: only while nobody waits, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache_store.types import Evicted
from qwen_ui.errors import GenerationFailed
from tests.pictures import photo, saved
from tests.service import Chat, ScriptedSource, is_hit, text, until


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path, audit_rate=1.0)
    yield chat
    await chat.close()


async def test_a_hit_is_asked_again_with_its_pixels_and_found_equal(chat: Chat) -> None:
    picture = chat.service.open_picture(saved(photo())).image
    await chat.ask(picture, "what is this")
    assert is_hit(await chat.ask(picture, "what is this"))
    await until(lambda: chat.service.stats().audited)
    stats = chat.service.stats()
    assert (stats.audited, stats.mismatched, stats.unaudited) == (1, 0, 0)
    assert chat.computed == 2
    (again,) = chat.engine.computed[1:]
    first = chat.engine.computed[0]
    assert again.messages == first.messages
    assert (again.sampling, again.max_tokens) == (first.sampling, first.max_tokens)
    assert again.messages[0].parts[0].load().tobytes() == photo().tobytes()  # type: ignore[union-attr]


async def test_a_wrong_entry_is_found_and_computed_anew(tmp_path: Path) -> None:
    said = iter(["wrong", "right", "right"])
    chat = Chat(tmp_path, ScriptedSource(script=lambda _: [next(said)]), audit_rate=1.0)
    await chat.ask("one")
    assert text(await chat.ask("one")) == "wrong"
    await until(lambda: chat.service.stats().evicted[Evicted.QUARANTINED])
    assert chat.service.stats().mismatched == 1
    events = await chat.ask("one")
    assert not is_hit(events)
    assert text(events) == "right"
    await chat.close()


async def test_a_question_stops_the_audit_within_one_token_and_is_answered(chat: Chat) -> None:
    await chat.ask("one two three")
    chat.engine.hold()
    await chat.ask("one two three")
    await until(lambda: chat.computed == 2)  # the audit has begun, and waits for its tokens
    asking = asyncio.create_task(chat.ask("another"))
    await until(lambda: chat.computed == 3)
    assert chat.service.stats().audited == 0
    chat.engine.release()
    assert "another" in text(await asking)
    await until(lambda: chat.service.stats().audited)  # taken up again once it is quiet
    assert chat.service.stats().mismatched == 0


async def test_a_question_to_another_model_stops_it_too(tmp_path: Path) -> None:
    sources = ScriptedSource("one"), ScriptedSource("two")
    chat = Chat(tmp_path, *sources, keep_loaded=2, audit_rate=1.0)
    await chat.ask("hello", model="one")
    await chat.ask("load it", model="two")
    for source in sources:
        source.engine.hold()
    await chat.ask("hello", model="one")
    await until(lambda: len(sources[0].engine.computed) == 2)
    asking = asyncio.create_task(chat.ask("hello", model="two"))
    await until(lambda: len(sources[1].engine.computed) == 2)
    sources[0].engine.release()
    await asyncio.sleep(0.1)
    assert chat.service.stats().audited == 0
    sources[1].engine.release()
    await asking
    await until(lambda: chat.service.stats().audited)
    await chat.close()


async def test_no_model_is_loaded_for_an_audit(tmp_path: Path) -> None:
    sources = ScriptedSource("one"), ScriptedSource("two")
    chat = Chat(tmp_path, *sources, keep_loaded=1, audit_rate=1.0)
    await chat.ask("hello", model="one")
    await chat.ask("hello", model="two")  # one is unloaded
    await chat.ask("hello", model="one")
    await asyncio.sleep(0.7)
    assert (sources[0].loads, sources[1].loads) == (1, 1)
    assert chat.service.stats().audited == 0
    await chat.close()


async def test_a_picture_that_is_gone_is_counted_as_not_audited(chat: Chat, tmp_path: Path) -> None:
    picture = chat.service.open_picture(saved(photo())).image
    await chat.ask(picture, "what is this")
    for file in (tmp_path / "media").rglob("*"):
        if file.is_file():
            file.unlink()
    assert is_hit(await chat.ask(picture, "what is this"))
    await until(lambda: chat.service.stats().unaudited)
    assert chat.computed == 1


async def test_a_model_that_fails_in_an_audit_deletes_nothing(chat: Chat) -> None:
    await chat.ask("one")
    chat.engine.fail_next(GenerationFailed("out of luck"))
    assert is_hit(await chat.ask("one"))
    await until(lambda: chat.service.stats().unaudited)
    assert chat.service.stats().mismatched == 0
    assert is_hit(await chat.ask("one"))


async def test_clearing_the_cache_clears_what_waits_to_be_audited(chat: Chat) -> None:
    await chat.ask("one")
    chat.engine.hold()
    await chat.ask("one")
    await until(lambda: chat.computed == 2)
    chat.service.clear_cache()
    chat.engine.release()
    await asyncio.sleep(0.1)
    assert not chat.service._audits._auditor._names


async def test_the_service_closes_while_an_audit_runs(chat: Chat) -> None:
    await chat.ask("one")
    chat.engine.hold()
    await chat.ask("one")
    await until(lambda: chat.computed == 2)
    await asyncio.wait_for(chat.close(), 5)
    thread = chat.service._audits._auditor._thread
    assert thread is not None
    assert not thread.is_alive()


async def test_without_a_rate_no_hit_is_asked_again(tmp_path: Path) -> None:
    chat = Chat(tmp_path, audit_rate=0.0)
    await chat.ask("one")
    await chat.ask("one")
    await asyncio.sleep(0.05)
    assert chat.computed == 1
    await chat.close()
