"""Asking, stopping, asking again: what a visitor sees of the chat."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from qwen_ui.errors import OutOfMemory
from tests.browser.rig import Served, wait_until
from tests.browser.visitor import STOP, OpenPage, Visitor

pytestmark = pytest.mark.browser


def test_asked_twice_the_second_answer_is_a_hit_with_a_badge(visitor: Visitor) -> None:
    badge = visitor.ask("ask me twice")
    expect(badge).to_contain_text("ms")
    expect(visitor.hits).to_have_count(0)
    visitor.new_chat()
    badge = visitor.ask("ask me twice")
    expect(badge).to_contain_text("cached · ")
    assert "From the cache (memory)" in (badge.get_attribute("title") or "")
    expect(visitor.answers).to_contain_text("You asked: ask me twice")
    assert visitor.text == ""


def test_a_hit_is_shown_while_another_page_waits_for_a_long_answer(
    served: Served, open_page: OpenPage
) -> None:
    first, second = open_page(), open_page()
    second.ask("a known thing")
    second.new_chat()
    served.engine.hold()
    first.send("a long thing")
    expect(first.page.locator(STOP)).to_be_visible()
    expect(second.ask("a known thing")).to_contain_text("cached")
    expect(first.badges).to_have_count(0)
    served.engine.release()
    expect(first.answers).to_contain_text("a long thing")


def test_each_token_is_seen_when_it_comes(served: Served, visitor: Visitor) -> None:
    served.engine.hold()
    visitor.send("one two")
    for count in (1, 2, 3):
        served.engine.release(1)
        expect(visitor.answers).to_have_text(" ".join(["You", "asked:", "one"][:count]))
    served.engine.release()
    expect(visitor.badges).to_have_count(1)
    expect(visitor.page.locator(STOP)).to_be_hidden()


def test_stop_keeps_what_was_seen_stores_nothing_and_the_next_question_works(
    served: Served, visitor: Visitor
) -> None:
    served.engine.hold()
    visitor.send("to be stopped")
    served.engine.release(3)
    expect(visitor.answers).to_have_text("You asked: to")
    stored = served.chat.service.stats().entries
    visitor.page.click(STOP)
    expect(visitor.badges).to_contain_text("stopped")
    expect(visitor.answers).to_contain_text("You asked: to")
    expect(visitor.page.locator(STOP)).to_be_hidden()
    served.engine.release()
    expect(visitor.ask("after the stop")).not_to_contain_text("stopped")
    assert served.chat.service.stats().entries == stored + 1


def test_a_question_sent_meanwhile_stops_the_running_answer(
    served: Served, visitor: Visitor
) -> None:
    served.engine.hold()
    visitor.send("the first of two")
    served.engine.release(2)
    expect(visitor.answers).to_have_text("You asked:")
    visitor.send("the second of two")
    expect(visitor.answers.first).to_contain_text("stopped")
    served.engine.release()
    expect(visitor.answers.last).to_contain_text("You asked: the second of two")
    expect(visitor.badges).to_have_count(2)


def test_retry_asks_the_model_again(served: Served, visitor: Visitor) -> None:
    visitor.ask("try me again")
    computed = served.chat.computed
    visitor.page.get_by_role("button", name="Retry").click()
    wait_until(lambda: served.chat.computed == computed + 1)
    expect(visitor.badges).to_have_count(1)
    expect(visitor.hits).to_have_count(0)
    expect(visitor.questions).to_have_count(1)


def test_an_earlier_question_is_edited_and_asked_anew(visitor: Visitor) -> None:
    typed = "is 2 * 3 < 7 & **so**?"
    visitor.ask(typed)
    visitor.ask("what follows")
    visitor.edit(0)
    expect(visitor.page.locator(".editing")).to_contain_text("question 1")
    assert visitor.text == typed
    visitor.send("changed")
    expect(visitor.questions).to_have_text(["changed"])
    expect(visitor.answers).to_contain_text("You asked: changed")
    expect(visitor.page.locator(".editing")).to_have_count(0)


def test_an_edit_can_be_given_up(visitor: Visitor) -> None:
    visitor.ask("stays as it is")
    visitor.edit(0)
    visitor.page.get_by_label("Cancel editing").click()
    expect(visitor.page.locator(".editing")).to_have_count(0)
    visitor.ask("comes after")
    expect(visitor.questions).to_have_text(["stays as it is", "comes after"])


def test_an_empty_question_is_refused_in_a_sentence(visitor: Visitor) -> None:
    visitor.send("   ")
    expect(visitor.notice).to_have_text("Type a question, then send it.")
    visitor.page.wait_for_timeout(700)
    expect(visitor.notice).to_be_visible()
    expect(visitor.questions).to_have_count(0)
    visitor.ask("now there is one")
    expect(visitor.notice).to_have_count(0)


@pytest.fixture(scope="module")
def long_question(served: Served) -> str:
    return "x" * (served.chat.settings.max_question_chars + 1)


def test_the_typed_text_is_not_lost_on_an_error(visitor: Visitor, long_question: str) -> None:
    visitor.send(long_question)
    expect(visitor.notice).to_contain_text("at most 20000 are read")
    expect(visitor.page.locator("#box textarea")).to_have_value(long_question)


def test_an_error_of_the_model_is_a_sentence_and_retry_works(
    served: Served, visitor: Visitor
) -> None:
    served.engine.hold()
    served.engine.fail_next(OutOfMemory())
    visitor.send("too much")
    expect(visitor.page.locator("#chat .failure")).to_contain_text("ran out of memory")
    expect(visitor.questions).to_have_text(["too much"])
    served.engine.release()
    visitor.page.get_by_role("button", name="Retry").click()
    expect(visitor.answers).to_contain_text("You asked: too much")
    expect(visitor.page.locator("#chat .failure")).to_have_count(0)


def test_thoughts_are_open_while_they_come_and_folded_after(
    served: Served, visitor: Visitor
) -> None:
    visitor.choose_model("thinker")
    wait_until(lambda: served.chat.sources[2].engines)
    thinker = served.chat.sources[2].engine
    thinker.hold()
    visitor.send("think")
    thinker.release(2)
    thought = visitor.page.get_by_text("first look")
    expect(thought).to_be_visible()
    thinker.release()
    expect(visitor.badges).to_have_count(1)
    expect(visitor.page.get_by_text("Thoughts")).to_be_visible()
    expect(thought).to_be_hidden()
    visitor.page.get_by_text("Thoughts").click()
    expect(thought).to_be_visible()


def test_another_model_is_chosen_while_the_first_still_answers(
    served: Served, visitor: Visitor
) -> None:
    served.engine.hold()
    visitor.send("who answers?")
    expect(visitor.page.locator(STOP)).to_be_visible()
    visitor.choose_model("other")
    served.engine.release()
    expect(visitor.answers).to_contain_text("You asked: who answers?")
    visitor.ask("and now?")
    expect(visitor.answers.last).to_contain_text("The other model answers.")
    expect(visitor.badges).to_have_count(2)


HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> <|im_end|> **b** $$x$$\n"
    "    - [a](javascript:alert(3)) &amp; ```"
)


def test_what_is_typed_is_shown_as_typed(visitor: Visitor) -> None:
    visitor.type(HOSTILE)
    visitor.page.click("#box [data-testid=submit-button]")
    expect(visitor.badges).to_have_count(1)
    assert visitor.questions.text_content() == HOSTILE
    assert visitor.page.locator("#chat .user-row :is(img, script, strong, a, code)").count() == 0


def test_an_answer_that_holds_html_runs_nothing(visitor: Visitor) -> None:
    visitor.ask("<img src=x onerror=alert(1)><svg onload=alert(2)>")
    visitor.page.wait_for_timeout(200)
    assert visitor.page.locator("#chat .bot-row [onerror], #chat .bot-row [onload]").count() == 0


def test_a_copied_answer_has_no_badge_and_a_copied_question_is_as_typed(
    open_page: OpenPage,
) -> None:
    visitor = open_page(permissions=["clipboard-read", "clipboard-write"])
    visitor.ask("copy <this> & *that*")
    read = "() => navigator.clipboard.readText()"
    copies = visitor.page.get_by_role("button", name="Copy message")
    copies.first.click()
    visitor.page.wait_for_timeout(100)
    assert visitor.page.evaluate(read) == "copy <this> & *that*"
    copies.last.click()
    visitor.page.wait_for_timeout(100)
    assert visitor.page.evaluate(read).strip() == "You asked: copy <this> & *that*"


def test_two_visitors_do_not_see_each_others_chat(open_page: OpenPage) -> None:
    first, second = open_page(), open_page()
    first.ask("only mine")
    expect(second.questions).to_have_count(0)
    second.ask("only theirs")
    expect(first.questions).to_have_text(["only mine"])
    expect(second.questions).to_have_text(["only theirs"])


def test_a_reload_begins_anew_and_ends_the_running_answer(served: Served, visitor: Visitor) -> None:
    served.engine.hold()
    visitor.send("left behind")
    wait_until(lambda: served.engine.waiting == 1)
    visitor.page.reload()
    wait_until(lambda: served.engine.waiting == 0)
    expect(visitor.page.locator("#chat .example").first).to_be_visible()
    expect(visitor.questions).to_have_count(0)
    served.engine.release()
    visitor.ask("after the reload")


def test_the_focus_stays_in_the_box(visitor: Visitor) -> None:
    focused = "document.activeElement === document.querySelector('#box textarea')"
    visitor.ask("by the keyboard")
    assert visitor.page.evaluate(focused)
    visitor.type("by the mouse")
    visitor.page.click("#box [data-testid=submit-button]")
    expect(visitor.badges).to_have_count(2)
    assert visitor.page.evaluate(focused)


def test_new_chat_forgets_the_conversation(served: Served, visitor: Visitor) -> None:
    visitor.ask("to be forgotten")
    visitor.new_chat()
    visitor.ask("a new beginning")
    assert len(served.engine.computed[-1].messages) == 1
