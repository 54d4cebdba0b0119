"""Several people behind a login: who is served whose answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.server import build_service, launch
from qwen_ui.settings import Settings
from tests.browser.visitor import Visitor
from tests.service import ScriptedSource

pytestmark = pytest.mark.browser

QUESTION = "What colour is the car?"


class Place:
    """The whole server, with a login for anna and one for ben, and browsers to open it with."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        logins = folder / "logins"
        logins.write_text("anna:apple\nben:banana\n")
        options: dict[str, Any] = {"cache_dir": folder / "cache", "port": 0, "audit_rate": 0.0}
        settings = Settings(visibility="user", logins=logins, **options)
        self._source = ScriptedSource()
        self._server = launch(settings, build_service(settings, EngineRegistry([self._source])))
        self._browser = browser

    @property
    def computed(self) -> int:
        return len(self._source.engine.computed)

    def page(self) -> Page:
        """In a browser of its own, where nobody is known."""
        page = self._browser.new_context(locale="en-US").new_page()
        page.goto(self._server.url)
        return page

    def log_in(self, name: str, password: str) -> Visitor:
        page = self.page()
        enter(page, name, password)
        page.wait_for_selector("#chat .example")
        return Visitor(page, self._server.url)

    def close(self) -> None:
        for context in self._browser.contexts:
            context.close()
        self._server.close(0.0)


@pytest.fixture
def place(browser: Browser, tmp_path: Path) -> Iterator[Place]:
    place = Place(browser, tmp_path)
    yield place
    place.close()


def enter(page: Page, name: str, password: str) -> None:
    page.get_by_label("username").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()


def test_nobody_is_let_in_without_a_password(place: Place) -> None:
    page = place.page()
    enter(page, "anna", "banana")
    expect(page.get_by_text("Incorrect")).to_be_visible()
    expect(page.locator("#box")).to_have_count(0)
    assert page.request.get(f"{page.url}gradio_api/info").status == 401


def test_answers_are_each_persons_own_and_follow_them_to_another_browser(place: Place) -> None:
    anna, ben = place.log_in("anna", "apple"), place.log_in("ben", "banana")
    anna.ask(QUESTION)
    ben.ask(QUESTION)
    expect(ben.hits).to_have_count(0)
    assert place.computed == 2
    elsewhere = place.log_in("anna", "apple")
    elsewhere.ask(QUESTION)
    expect(elsewhere.hits).to_have_count(1)
    assert place.computed == 2
    assert [problem for who in (anna, ben, elsewhere) for problem in who.problems] == []
