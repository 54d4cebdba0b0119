"""Around the chat: languages, the model, the cache panel, dark and small screens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

from tests.browser.rig import Served, serve
from tests.browser.visitor import OpenPage, Visitor
from tests.service import ScriptedSource

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
SHOTS = os.environ.get("QWEN_UI_TEST_SHOTS")  # a folder to look at them


def shoot(visitor: Visitor, name: str, folder: Path) -> None:
    visitor.page.wait_for_timeout(400)
    path = Path(SHOTS or folder) / f"{name}.png"
    visitor.page.screenshot(path=path)
    assert path.stat().st_size > 10_000


def sideways(visitor: Visitor) -> int:
    """How far the page can be scrolled sideways, in pixels."""
    script = "document.documentElement.scrollWidth - window.innerWidth"
    return int(visitor.page.evaluate(script))


def test_chinese_texts_for_a_chinese_browser(open_page: OpenPage, tmp_path: Path) -> None:
    visitor = open_page(locale="zh-CN")
    expect(visitor.page.locator("#new-chat")).to_have_text("新对话")
    expect(visitor.page.locator("#chat .placeholder")).to_contain_text("就一张图片提问")
    expect(visitor.page.locator("#model-line")).to_contain_text("就绪")
    shoot(visitor, "chinese_empty", tmp_path)
    visitor.page.locator("#chat .example").first.click()
    expect(visitor.page.locator("#box textarea")).to_have_value("图里有什么？")
    visitor.page.press("#box textarea", "Enter")
    expect(visitor.badges).to_have_count(1)
    expect(visitor.answers).to_contain_text("You asked: 图里有什么？")
    visitor.page.click("#new-chat")
    visitor.page.locator("#chat .example").first.click()
    expect(visitor.attached).to_have_count(1)
    visitor.page.press("#box textarea", "Enter")
    expect(visitor.hits).to_contain_text("来自缓存")
    visitor.send("")
    expect(visitor.notice).to_have_text("请先输入问题，再发送。")
    shoot(visitor, "chinese", tmp_path)


@pytest.mark.parametrize(("locale", "label"), [("zh-TW", "新对话"), ("de-DE", "New chat")])
def test_other_browsers_get_the_nearest_language(
    open_page: OpenPage, locale: str, label: str
) -> None:
    expect(open_page(locale=locale).page.locator("#new-chat")).to_have_text(label)


def test_dark(open_page: OpenPage, tmp_path: Path) -> None:
    visitor = open_page(color_scheme="dark")
    shoot(visitor, "dark_empty", tmp_path)
    visitor.ask("in the **dark**")
    colour = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in colour.strip("rgb()").split(",")]
    assert max(channels) < 60
    shoot(visitor, "dark", tmp_path)


def test_a_phone_shows_chat_or_panel(open_page: OpenPage, tmp_path: Path) -> None:
    visitor = open_page(viewport=PHONE)
    expect(visitor.page.locator("#cache-figures")).to_be_hidden()
    shoot(visitor, "phone_empty", tmp_path)
    visitor.ask("a long question on a small screen " + "which-has-a-very-long-word" * 4)
    assert sideways(visitor) == 0
    shoot(visitor, "phone", tmp_path)
    visitor.page.click("#panel-button")
    expect(visitor.page.locator("#cache-figures dl")).to_be_visible()
    expect(visitor.page.locator("#chat")).to_be_hidden()
    assert sideways(visitor) == 0
    shoot(visitor, "phone_panel", tmp_path)
    visitor.page.click("#panel-button")
    expect(visitor.page.locator("#chat")).to_be_visible()


def test_the_panel_follows_the_cache_while_it_is_seen(
    served: Served, visitor: Visitor, tmp_path: Path
) -> None:
    entries = visitor.page.locator("#cache-figures dt:has-text('answers kept') + dd")
    expect(entries).to_have_text(str(served.chat.service.stats().entries))
    visitor.ask("one more for the panel")
    expect(entries).to_have_text(str(served.chat.service.stats().entries))
    expect(visitor.page.locator("#cache-plot canvas, #cache-plot svg").first).to_be_visible()
    shoot(visitor, "panel", tmp_path)


def test_a_closed_panel_asks_nothing_of_the_server(visitor: Visitor) -> None:
    visitor.page.click("#panel-button")
    expect(visitor.page.locator("#cache-figures")).to_be_hidden()
    visitor.page.wait_for_timeout(500)
    calls: list[str] = []
    visitor.page.on("request", lambda request: calls.append(request.url))
    visitor.type("typing asks nothing either")
    visitor.page.wait_for_timeout(2500)
    assert calls == []


def test_the_cache_is_cleared_only_when_it_is_meant(served: Served, visitor: Visitor) -> None:
    visitor.ask("to be cleared")
    before = served.chat.service.stats().entries
    assert before > 0
    visitor.page.click("#clear-cache")
    visitor.page.get_by_role("button", name="Keep them").click()
    expect(visitor.page.locator("#clear-cache")).to_be_visible()
    assert served.chat.service.stats().entries == before
    visitor.page.click("#clear-cache")
    visitor.page.get_by_role("button", name="Forget them").click()
    expect(visitor.page.locator("#clear-cache")).to_be_visible()
    assert served.chat.service.stats().entries == 0
    visitor.new_chat()
    visitor.ask("to be cleared")
    expect(visitor.hits).to_have_count(0)


@pytest.fixture
def slow(browser: Browser) -> Iterator[Served]:
    """A page with a second model that takes its time to load, and a third that cannot be."""
    late, broken = ScriptedSource("late"), ScriptedSource("broken")
    late.gate.clear()
    broken.error = RuntimeError("no weights")
    with serve(ScriptedSource(), late, broken) as served:
        yield served


def test_a_model_is_chosen_loads_and_answers(browser: Browser, slow: Served) -> None:
    visitor = Visitor(browser.new_page(locale="en-US"), slow.url)
    line = visitor.page.locator("#model-line")
    expect(line).to_contain_text("ready")
    visitor.ask("known before")
    visitor.page.click("#model input")
    visitor.page.get_by_role("option", name="late", exact=True).click()
    expect(line).to_contain_text("loading … 50 %")
    visitor.send("are you there?")
    expect(visitor.page.locator("#chat .waiting")).to_have_text("loading late … 50 %")
    slow.chat.sources[1].gate.set()
    expect(visitor.badges).to_have_count(2)
    expect(line).to_contain_text("ready")
    visitor.page.click("#model input")
    visitor.page.get_by_role("option", name="broken", exact=True).click()
    expect(line).to_contain_text("cannot be loaded")
    expect(line).to_contain_text("no weights")
    visitor.send("and you?")
    expect(visitor.page.locator("#chat .failure")).to_contain_text("broken cannot be loaded")
    assert visitor.problems == []
    visitor.page.context.close()


def test_everything_that_is_pressed_has_a_name(visitor: Visitor) -> None:
    visitor.ask("names for all")
    nameless = visitor.page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea')]
          .filter((one) => one.checkVisibility())
          .filter((one) => !(one.ariaLabel || one.title || one.textContent.trim()
            || one.labels?.[0]?.textContent.trim() || one.placeholder))
          .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_nothing_is_fetched_from_elsewhere(browser: Browser, served: Served) -> None:
    page = browser.new_page(locale="en-US")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    visitor = Visitor(page, served.url)
    visitor.ask("at home")
    page.close()
    local = (served.url, "data:", "blob:")
    assert [url for url in fetched if not url.startswith(local)] == []
