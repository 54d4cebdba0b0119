"""What the page shows of the cache, and what a visitor can do about it."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Locator, expect

from tests.browser.rig import Served, wait_until
from tests.browser.visitor import STOP, OpenPage, Visitor

pytestmark = pytest.mark.browser


def suggestions(visitor: Visitor) -> Locator:
    return visitor.page.locator("#told .suggestion")


def known(served: Served, visitor: Visitor, question: str) -> str:
    """Ask in a chat of its own, so that the answer is kept and can be suggested; the answer."""
    visitor.ask(question)
    answer = visitor.answers.locator(".prose").first.inner_text()
    visitor.new_chat()
    served.chat.cache._similar.settle()
    return answer


def test_a_click_on_a_suggestion_shows_that_answer_as_an_exact_hit(
    served: Served, visitor: Visitor
) -> None:
    answer = known(served, visitor, "What colour is the car?")
    computed = served.chat.computed
    served.engine.hold()
    visitor.send("What is the colour of the car?")
    expect(visitor.page.locator("#told .similar")).to_contain_text("Asked before:")
    expect(suggestions(visitor)).to_have_text(["What colour is the car? just now"])
    served.engine.release(2)
    expect(visitor.answers).to_have_text("You asked:")
    suggestions(visitor).click()
    expect(visitor.hits).to_contain_text("cached · ")
    expect(visitor.questions).to_have_text(["What colour is the car?"])
    expect(visitor.answers).to_contain_text(answer)
    expect(suggestions(visitor)).to_have_count(0)
    expect(visitor.page.locator(STOP)).to_be_hidden()
    wait_until(lambda: served.engine.waiting == 0)  # nobody reads the first answer any more
    assert served.chat.computed == computed + 1


def test_a_suggestion_is_reached_and_pressed_by_the_keyboard_also_as_the_answer_ends(
    served: Served, visitor: Visitor
) -> None:
    known(served, visitor, "What colour is the tree?")
    served.engine.hold()
    visitor.send("What is the colour of the tree?")
    expect(suggestions(visitor)).to_have_count(1)
    for _ in range(4):  # over the buttons of the box
        visitor.page.keyboard.press("Shift+Tab")
        if visitor.page.evaluate("document.activeElement.matches('.suggestion')"):
            break
    expect(suggestions(visitor)).to_be_focused()
    served.engine.release()
    expect(visitor.badges).to_have_count(1)
    expect(visitor.page.locator(STOP)).to_be_hidden()
    expect(suggestions(visitor)).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(visitor.hits).to_have_count(1)
    expect(visitor.questions).to_have_text(["What colour is the tree?"])


def test_a_suggestion_is_never_an_answer_and_goes_with_the_next_question(
    served: Served, visitor: Visitor
) -> None:
    known(served, visitor, "What colour is the house?")
    visitor.ask("What is the colour of the house?")
    expect(suggestions(visitor)).to_have_count(1)
    expect(visitor.answers).to_contain_text("You asked: What is the colour of the house?")
    expect(visitor.hits).to_have_count(0)
    visitor.ask("Something else entirely")
    expect(suggestions(visitor)).to_have_count(0)


def test_why_a_miss_is_told_when_it_is_asked(served: Served, visitor: Visitor) -> None:
    known(served, visitor, "Which animal is that?")
    visitor.ask("Which animal is that there?")
    expect(visitor.page.locator("#chat .why:not(button)")).to_have_count(0)
    visitor.page.get_by_role("button", name="why a miss?").click()
    told = visitor.page.locator("#chat div.why")
    expect(told).to_contain_text("was given to another wording (“Which animal is that?”).")
    expect(visitor.page.get_by_role("button", name="why a miss?")).to_have_count(0)
    assert visitor.text == ""


def test_an_equivalent_answer_says_whose_it_is_and_one_click_asks_the_model(
    served: Served, visitor: Visitor
) -> None:
    known(served, visitor, "Is this a boat?")
    badge = visitor.ask("please, is this a boat")
    expect(badge).to_contain_text("cached: answer to “Is this a boat?”")
    computed = served.chat.computed
    visitor.page.get_by_role("button", name="ask the model").click()
    expect(visitor.hits).to_have_count(0)
    expect(visitor.answers).to_contain_text("You asked: please, is this a boat")
    expect(visitor.questions).to_have_count(1)
    assert served.chat.computed == computed + 1


def test_a_second_page_joins_the_running_answer_of_the_first(
    served: Served, open_page: OpenPage
) -> None:
    first, second = open_page(), open_page()
    computed = served.chat.computed
    served.engine.hold()
    first.send("one answer for two")
    served.engine.release(3)
    expect(first.answers).to_have_text("You asked: one")
    second.send("one answer for two")
    expect(second.answers).to_have_text("You asked: one")  # from its start
    served.engine.release()
    expect(second.badges).to_contain_text("shared with a running answer")
    expect(first.badges).not_to_contain_text("shared")
    for visitor in (first, second):
        expect(visitor.answers).to_contain_text("You asked: one answer for two")
    texts = [visitor.answers.locator(".prose").first.inner_text() for visitor in (first, second)]
    assert texts[0] == texts[1]
    assert served.chat.computed == computed + 1
