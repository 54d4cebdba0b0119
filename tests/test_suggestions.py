"""The service offers similar questions beside a miss; asked in its place, one is an exact hit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwen_ui.types import CacheControl, Message, Picture
from tests.pictures import photo, saved
from tests.service import Chat, is_hit, status, text

KEPT = "What colour is the car?"
ASKED = "What is the colour of the car?"


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path)
    yield chat
    await chat.close()


@pytest.fixture
def picture(chat: Chat) -> Picture:
    return chat.service.open_picture(saved(photo()), "car.png")


async def ask(chat: Chat, picture: Picture, question: str, **options: object) -> list[str]:
    """What is suggested beside the answer."""
    events = await chat.ask(picture.image, question, **options)
    chat.cache._similar.settle()
    return [suggestion.question for suggestion in status(events).similar]


async def test_a_miss_comes_with_what_was_asked_before_in_other_words(
    chat: Chat, picture: Picture
) -> None:
    assert await ask(chat, picture, KEPT) == []
    events = await chat.ask(picture.image, ASKED)
    assert not is_hit(events)
    (suggestion,) = status(events).similar
    assert suggestion.question == KEPT
    assert 0 <= suggestion.age_s < 60
    assert chat.computed == 2  # a suggestion answers nothing


async def test_asking_the_suggested_question_in_its_place_is_an_exact_hit(
    chat: Chat, picture: Picture
) -> None:
    first = await chat.ask(picture.image, KEPT)
    chat.cache._similar.settle()
    (suggestion,) = status(await chat.ask(picture.image, ASKED)).similar
    again = await chat.ask(picture.image, suggestion.question)
    assert is_hit(again)
    assert text(again) == text(first)
    assert chat.computed == 2


async def test_a_hit_and_a_bypass_suggest_nothing(chat: Chat, picture: Picture) -> None:
    await ask(chat, picture, KEPT)
    await ask(chat, picture, ASKED)
    assert await ask(chat, picture, ASKED) == []
    assert await ask(chat, picture, ASKED, cache=CacheControl(no_cache=True)) == []


async def test_other_pictures_and_other_conversations_suggest_nothing(
    chat: Chat, picture: Picture
) -> None:
    await ask(chat, picture, KEPT)
    other = chat.service.open_picture(saved(photo(seed=1)), "another.png")
    assert await ask(chat, other, ASKED) == []
    later = [
        Message("user", (picture.image, "Hello.")),
        Message("assistant", ("Hi.",)),
        Message("user", (ASKED,)),
    ]
    events = [event async for event in chat.service.stream(chat.service.open(later))]
    assert status(events).similar == ()


async def test_the_header_does_not_tell_what_others_asked(chat: Chat, picture: Picture) -> None:
    await ask(chat, picture, KEPT)
    events = await chat.ask(picture.image, ASKED)
    assert status(events).similar
    assert KEPT not in status(events).header()
