"""One browser for all tests of this folder, one server for each file of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.rig import CHROMIUM, Served, serve
from tests.service import ScriptedSource

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.contexts import Contexts
    from tests.browser.visitor import OpenPage, Visitor


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    from tests.browser.contexts import WAIT_MS

    api.expect.set_options(timeout=WAIT_MS)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _think(request: Any) -> list[str]:
    return ["<think>first ", "<think>look ", "then ", "answer"]


def _other(request: Any) -> list[str]:
    return ["The ", "other ", "model ", "answers."]


@pytest.fixture(scope="module")
def served(browser: Browser) -> Iterator[Served]:
    """Three models: `scripted` repeats the question, `other` and `thinker` say what they say."""
    with serve(
        ScriptedSource(),
        ScriptedSource("other", script=_other),
        ScriptedSource("thinker", script=_think),
    ) as served:
        yield served


@pytest.fixture(scope="module")
def contexts(browser: Browser, served: Served) -> Iterator[Contexts]:
    from tests.browser.contexts import Contexts

    contexts = Contexts(browser, served.url)
    yield contexts
    contexts.close()


@pytest.fixture
def open_page(contexts: Contexts, served: Served) -> Iterator[OpenPage]:
    """Open the page in a browser of its own kind; what is left running is let go at the end."""
    from tests.browser.visitor import Visitor

    opened: list[Visitor] = []

    def open_page(**context: Any) -> Visitor:
        options = {"locale": "en-US", "viewport": {"width": 1280, "height": 800}, **context}
        opened.append(Visitor(contexts.open(**options), served.url))
        return opened[-1]

    yield open_page
    for source in served.chat.sources:
        for engine in source.engines:
            engine.release()
    problems = [problem for visitor in opened for problem in visitor.problems]
    for visitor in opened:
        contexts.give_back(visitor.page)
    assert problems == []


@pytest.fixture
def visitor(open_page: OpenPage) -> Visitor:
    return open_page()
