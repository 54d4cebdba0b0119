"""What the cache knows, in the chat: suggestions, why a miss, and whose answers are shown."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

import pytest

from qwen_ui.errors import UnknownModel
from qwen_ui.ui.conversation import TurnState
from qwen_ui.ui.handlers import ChatHandlers
from tests.service import Chat, until
from tests.ui.page import Visitor, held

KEPT = "What colour is the car?"
ASKED = "What is the colour of the car?"


async def known(chat: Chat, page: Visitor, *questions: str, file: Path | None = None) -> None:
    """Each is asked in a chat of its own, so that its answer is kept."""
    for question in questions:
        await page.ask(question, *[file] if file else [])
        page.clear()
    chat.cache._similar.settle()


# --- suggestions ---------------------------------------------------------------------------------


async def test_a_miss_offers_what_was_asked_before_about_the_picture(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    page.send(ASKED, red)
    assert page.busy
    assert "Asked before about this picture:" in html.unescape(page.told)
    assert list(page.suggestions.values()) == [f"{KEPT} just now"]
    await page.read()
    assert page.suggestions  # until the next question
    assert chat.computed == 2


async def test_in_chinese_and_without_a_picture(
    chat: Chat, handlers: ChatHandlers, page: Visitor
) -> None:
    await known(chat, page, KEPT)
    other = Visitor(handlers, "zh-CN", "two")
    other.send(ASKED)
    assert "以前问过：" in other.told
    assert list(other.suggestions.values()) == [f"{KEPT} 刚才"]


async def test_a_chosen_suggestion_takes_the_place_of_the_question_and_is_an_exact_hit(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    await held(chat)
    page.send(ASKED, red)
    reading = asyncio.create_task(page.read())
    await until(lambda: chat.computed == 2)
    (name,) = page.suggestions
    page.choose(name)
    await reading
    (turn,) = page.session.conversation.turns
    assert turn.text == KEPT
    assert turn.cache is not None
    assert (turn.cache.hit, turn.cache.match) == (True, "exact")
    assert page.last.startswith(f"You asked: {KEPT}")
    assert (page.busy, page.suggestions) == (False, {})
    await until(lambda: chat.engine.waiting == 0)  # the first question's answer is given up
    chat.engine.release()
    assert chat.service.stats().entries == 1


async def test_a_later_question_of_a_chat_is_offered_what_was_asked_after_the_same_history(
    chat: Chat, page: Visitor, red: Path
) -> None:
    for question in (KEPT, ASKED):
        page.clear()
        await page.ask("Hello.", red)
        await page.ask(question)
        chat.cache._similar.settle()
    (name,) = page.suggestions
    page.choose(name)
    hello, chosen = page.session.conversation.turns
    assert (hello.text, chosen.text) == ("Hello.", KEPT)
    assert chosen.cache is not None
    assert chosen.cache.hit
    assert chat.computed == 3


async def test_a_click_that_comes_late_changes_nothing(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    await page.ask(ASKED, red)
    (name,) = page.suggestions
    await page.ask("And how many?")
    before = page.session.conversation
    page.choose(name)
    page.choose("a name of the visitor's own")
    assert page.session.conversation == before
    page.clear()
    page.choose(name)
    assert page.chat == []


async def test_a_suggestion_that_was_forgotten_meanwhile_is_asked_of_the_model(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    await page.ask(ASKED, red)
    (name,) = page.suggestions
    chat.service.clear_cache()
    page.choose(name)
    assert page.busy
    assert (await page.read())[-1].startswith(f"You asked: {KEPT}")
    assert chat.computed == 3


async def test_nothing_is_offered_beside_a_hit_or_while_a_question_is_edited(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    await page.ask(ASKED, red)
    page.edit(0)
    assert page.banner
    assert page.suggestions == {}
    _, page.told = page.handlers.cancel_edit(page.session, page.request)
    assert page.suggestions
    page.clear()
    await page.ask(ASKED, red)
    assert "cached" in page.last
    assert page.suggestions == {}


async def test_a_suggestion_that_may_not_be_asked_any_more_is_refused_in_a_sentence(
    tmp_path: Path,
) -> None:
    chat = Chat(tmp_path)
    page = Visitor(ChatHandlers(chat.service, chat.settings))
    await known(chat, page, KEPT)
    await page.ask(ASKED)
    (name,) = page.suggestions
    object.__setattr__(chat.settings, "max_question_chars", 5)
    page.choose(name)
    assert "at most 5 are read" in page.notice
    assert page.session.conversation.turns[0].text == ASKED
    await chat.close()


async def test_what_another_asked_is_shown_as_typed(chat: Chat, page: Visitor, red: Path) -> None:
    hostile = "What colour is the <b>*car*</b>?"
    await known(chat, page, hostile, file=red)
    page.send("What is the colour of the <b>*car*</b>?", red)
    assert list(page.suggestions.values()) == [f"{hostile} just now"]
    assert not re.search(r"<b>\*|\*car", page.told)


# --- why a miss ----------------------------------------------------------------------------------


async def test_why_names_the_nearest_wording_that_was_kept_before(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    answer = await page.ask(ASKED, red)
    assert answer.endswith("why a miss?")
    said = page.why(page.session.conversation.turns[0].id)
    assert said.endswith(f"was given to another wording (“{KEPT}”).")
    assert "why a miss?" not in said
    assert chat.computed == 2


async def test_why_the_first_answer_of_all_was_a_miss(page: Visitor) -> None:
    await page.ask("hello")
    (turn,) = page.session.conversation.turns
    wanted = "Not cached: no answer about this picture or by this model was kept then."
    assert page.why(turn.id).endswith(wanted)


async def test_why_names_another_model_and_a_later_turn_another_history(
    chat: Chat, page: Visitor, red: Path
) -> None:
    await known(chat, page, KEPT, file=red)
    page.model = "other"
    await page.ask(KEPT, red)
    assert "another model (“scripted”)" in page.why(page.session.conversation.turns[0].id)
    page.clear()
    page.model = "scripted"
    await page.ask("Hello.", red)
    await page.ask(KEPT, red)
    assert page.why(page.session.conversation.turns[1].id).endswith(
        "was given to another conversation before it."
    )


async def test_a_hit_or_an_unknown_turn_is_not_explained(chat: Chat, page: Visitor) -> None:
    await known(chat, page, "hello")
    await page.ask("hello")
    before = page.session.conversation
    for turn in (before.turns[0].id, 77, "", "x"):
        page.why(turn)
    assert page.session.conversation == before


async def test_an_error_while_explaining_is_a_sentence(
    chat: Chat, page: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.ask("hello")

    def explain(*_: object) -> None:
        raise UnknownModel("scripted")

    monkeypatch.setattr(chat.service, "explain", explain)
    page.why(page.session.conversation.turns[0].id)
    assert "There is no model named scripted here." in page.notice
    assert page.session.conversation.turns[0].state is TurnState.DONE


# --- whose answers -------------------------------------------------------------------------------


@pytest.fixture
def by_user(tmp_path: Path) -> Chat:
    return Chat(tmp_path, visibility="user")


async def test_a_login_shares_answers_between_its_own_pages_and_with_nobody_else(
    by_user: Chat,
) -> None:
    handlers = ChatHandlers(by_user.service, by_user.settings)

    def page(name: str, user: str | None) -> Visitor:
        return Visitor(handlers, name=name, user=user)

    await page("1", "ann").ask(KEPT)
    assert "cached" in await page("2", "ann").ask(KEPT)
    assert "cached" not in await page("3", "bob").ask(KEPT)
    stranger = page("4", None)
    assert "cached" not in await stranger.ask(KEPT)
    stranger.clear()
    assert "cached" in await stranger.ask(KEPT)
    assert "cached" not in await page("5", None).ask(KEPT)
    await by_user.close()


async def test_neither_suggestions_nor_reasons_tell_what_another_user_asked(by_user: Chat) -> None:
    handlers = ChatHandlers(by_user.service, by_user.settings)
    ann, bob = (Visitor(handlers, name=user, user=user) for user in ("ann", "bob"))
    await known(by_user, ann, KEPT)
    await bob.ask(ASKED)
    assert bob.suggestions == {}
    assert KEPT not in bob.why(bob.session.conversation.turns[0].id)
    assert "no answer about this picture" in bob.last
    await ann.ask(ASKED)
    assert ann.suggestions
    await by_user.close()
