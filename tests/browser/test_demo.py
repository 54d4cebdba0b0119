"""The whole program with its demo model: pictures, questions in two languages, a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

import qwen_ui.demo_model
from qwen_ui.settings import Settings
from tests.browser.rig import free_port
from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

WEIGHTS = Path(qwen_ui.demo_model.__file__).parent / "weights" / "demo" / "model.safetensors"
DATA = Path(os.environ.get("QWEN_UI_TEST_DATA") or "nowhere")
QUESTIONS = ("What is in the picture?", "What colour is it?", "图里有什么？", "图中有几个图形？")
PICTURES = {
    "drawn scene": None,  # the first example of the page
    "photo": DATA / "images/photos/office.jpg",
    "phone photo": DATA / "images/orientation/exif_Portrait_6.jpg",
}
_ANSWER_MS = 120_000  # on a busy machine


@contextmanager
def program(browser: Browser, folder: Path) -> Iterator[Visitor]:
    """The program over this cache directory, and a visitor in front of it."""
    if not WEIGHTS.exists():
        pytest.skip(f"the demo model has no weights yet: {WEIGHTS}")
    server = pytest.importorskip("qwen_ui.server")
    options: dict[str, Any] = {"cache_dir": folder, "model": "demo", "port": free_port()}
    launched = server.launch(Settings(**options))
    try:
        page = browser.new_page(locale="en-US")
        yield Visitor(page, launched.url)
        page.close()
    finally:
        launched.close()


def ask(visitor: Visitor, picture: Path | None, question: str) -> tuple[str, bool]:
    """The answer in a new chat, and whether it was a hit."""
    visitor.new_chat()
    if picture is None:
        visitor.page.locator("#chat .example").first.click()
    else:
        visitor.attach(picture)
    expect(visitor.attached).to_have_count(1)
    visitor.send(question)
    expect(visitor.badges).to_have_count(1, timeout=_ANSWER_MS)
    answer = visitor.page.locator("#chat [data-testid=bot]").first.inner_text()
    return answer, visitor.hits.count() == 1


@dataclass
class Rounds:
    """Answers by picture: asked once, asked again, and asked after a restart."""

    first: dict[str, list[tuple[str, bool]]]
    second: dict[str, list[tuple[str, bool]]]
    restarted: dict[str, list[tuple[str, bool]]]


def ask_all(visitor: Visitor) -> dict[str, list[tuple[str, bool]]]:
    return {
        name: [ask(visitor, picture, question) for question in QUESTIONS]
        for name, picture in PICTURES.items()
        if picture is None or picture.exists()
    }


@pytest.fixture(scope="module")
def rounds(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    folder = tmp_path_factory.mktemp("demo")
    with program(browser, folder) as visitor:
        first, second = ask_all(visitor), ask_all(visitor)
        expect(visitor.page.locator("#demo-note")).to_contain_text("This is a demo model")
        expect(visitor.page.locator("#demo-note")).to_contain_text("--model Qwen/Qwen3-VL-4B")
        assert visitor.problems == []
    with program(browser, folder) as visitor:
        return Rounds(first, second, ask_all(visitor))


@pytest.mark.parametrize("name", PICTURES)
def test_every_question_is_a_hit_the_second_time_and_after_a_restart(
    rounds: Rounds, name: str
) -> None:
    if name not in rounds.first:
        pytest.skip("QWEN_UI_TEST_DATA names no folder with this photo")
    answers = [answer for answer, _ in rounds.first[name]]
    assert all(answers)
    assert [hit for _, hit in rounds.first[name]] == [False] * len(QUESTIONS)
    again = [(answer, True) for answer in answers]
    assert rounds.second[name] == again
    assert rounds.restarted[name] == again
