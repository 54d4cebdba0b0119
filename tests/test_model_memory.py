"""What the service lets a model remember, look at ahead, and forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cache_store.__main__ import main
from qwen_ui.types import Image, Message, Visitor
from tests.pictures import photo, saved
from tests.service import Chat, until, usage

Make = Callable[..., Chat]
ME, YOU = Visitor(session="me"), Visitor(session="you")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Chat] = []

    def build(**options: Any) -> Chat:
        made.append(Chat(tmp_path, **options))
        return made[-1]

    yield build
    for chat in made:
        await chat.close()


def picture(chat: Chat) -> Image:
    return chat.service.open_picture(saved(photo(64, 48))).image


async def test_pictures_are_prepared_for_those_who_share_the_question(make: Make) -> None:
    chat = make(visibility="session")
    await chat.ask("hi")
    shown = picture(chat)
    asked = Message("user", (shown,))
    chat.service.prepare([asked], visitor=ME)
    await until(lambda: chat.engine.prepared)
    prepared = chat.engine.prepared[0]
    assert prepared.messages == (asked,)
    for visitor in (ME, YOU):
        await chat.ask(shown, "What is this?", visitor=visitor)
    mine, yours = chat.engine.computed[-2:]
    assert prepared.sharing == mine.sharing != yours.sharing


async def test_a_model_that_is_not_loaded_prepares_nothing(make: Make) -> None:
    chat = make()
    chat.service.prepare([Message("user", (picture(chat),))])
    assert chat.sources[0].loads == 0


async def test_a_model_that_answers_prepares_afterwards_and_only_the_last(make: Make) -> None:
    chat = make()
    await chat.ask("hi")
    chat.engine.hold()
    running = asyncio.create_task(chat.ask("a long one"))
    await until(lambda: len(chat.engine.computed) == 2)
    for visitor, text in ((ME, "one"), (YOU, "two"), (ME, "three")):
        chat.service.prepare([Message("user", (text, picture(chat)))], visitor=visitor)
    assert chat.engine.prepared == []
    chat.engine.release()
    await running
    await until(lambda: len(chat.engine.prepared) == 2)
    assert [request.messages[0].parts[0] for request in chat.engine.prepared] == ["two", "three"]


async def test_clearing_the_cache_makes_the_model_forget(make: Make) -> None:
    chat = make()
    await chat.ask("hi")
    assert chat.engine.forgets == 0
    chat.service.clear_cache()
    assert chat.engine.forgets == 1


async def test_what_another_process_forgot_is_forgotten_by_the_model_too(
    make: Make, tmp_path: Path
) -> None:
    chat = make()
    await chat.ask("hi")
    assert main(["forget", str(tmp_path), "--all"]) == 0
    await chat.ask("hi")
    assert chat.engine.forgets == 1
    await chat.ask("hello")
    assert chat.engine.forgets == 1


async def test_what_waits_to_be_prepared_is_forgotten_with_the_answers(make: Make) -> None:
    chat = make()
    await chat.ask("hi")
    chat.engine.hold()
    running = asyncio.create_task(chat.ask("a long one"))
    await until(lambda: len(chat.engine.computed) == 2)
    chat.service.prepare([Message("user", (picture(chat),))], visitor=ME)
    chat.service.clear_cache()
    chat.service.prepare([Message("user", ("later", picture(chat)))], visitor=YOU)
    chat.engine.release()
    await running
    await until(lambda: chat.engine.prepared)
    assert [request.messages[0].parts[0] for request in chat.engine.prepared] == ["later"]


async def test_what_the_model_knew_already_is_told(make: Make) -> None:
    chat = make()
    await chat.ask("hi")
    chat.engine.known = (7, 1)
    told = usage(await chat.ask("hello"))
    assert (told.cached_tokens, told.known_pictures) == (7, 1)


async def test_clearing_the_cache_forgets_pictures_that_no_conversation_shows(make: Make) -> None:
    chat = make()
    shown = chat.service.open_picture(saved(photo()))
    gone = chat.service.open_picture(saved(photo(seed=1)))
    await chat.ask("hi", shown.image)
    path, digest, id = gone.thumbnail, gone.image.digest, gone.id
    del gone
    chat.service.clear_cache()
    assert shown.thumbnail.exists()
    assert not path.exists()
    assert chat.media.get(digest) is None
    assert chat.cache.memo.get(id) is None
    await chat.ask("again", shown.image)  # the picture is still there to be asked about


async def test_which_files_had_which_pixels_is_forgotten_as_another_process_does(
    make: Make, tmp_path: Path
) -> None:
    chat = make()
    id = chat.service.open_picture(saved(photo())).id
    await chat.ask("hi")
    chat.cache.stats()
    assert main(["forget", str(tmp_path), "--all"]) == 0
    await chat.ask("hi")
    assert chat.cache.memo.get(id) is None
