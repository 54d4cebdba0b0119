"""The program is told to end in the middle of an answer."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, expect

from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
QUESTION = "one two three four"


class Program:
    """A process of its own whose scripted model says a token when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert address
        self.url = address[0]

    def release(self, tokens: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{tokens}\n")
        self.process.stdin.flush()

    def told_to_end(self) -> None:
        """Send SIGTERM, and wait until the program has said that it heard it."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout
        assert "stopping" in self.process.stdout.readline()


@contextmanager
def program(folder: Path) -> Iterator[Program]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.browser.scripted_server",
            "--port=0",
            f"--cache-dir={folder}",
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


@contextmanager
def visiting(browser: Browser, url: str) -> Iterator[Visitor]:
    page = browser.new_page(locale="en-US")
    try:
        yield Visitor(page, url)
    finally:
        page.close()


def begin(visitor: Visitor, running: Program) -> None:
    """Ask, and see the first two words of the answer."""
    visitor.send(QUESTION)
    running.release("2")
    expect(visitor.answers.last).to_contain_text("You asked:")


def test_an_answer_that_can_finish_in_time_is_kept(browser: Browser, tmp_path: Path) -> None:
    with program(tmp_path) as first, visiting(browser, first.url) as visitor:
        begin(visitor, first)
        first.told_to_end()
        first.release("all")
        assert first.process.wait(20) == 0
    with program(tmp_path) as second, visiting(browser, second.url) as visitor:
        visitor.ask(QUESTION)  # the second model is held: only the cache can answer
        expect(visitor.hits).to_have_count(1)
        expect(visitor.answers.last).to_contain_text(f"You asked: {QUESTION}")


def test_an_answer_that_cannot_finish_is_not_kept(browser: Browser, tmp_path: Path) -> None:
    with program(tmp_path) as first, visiting(browser, first.url) as visitor:
        begin(visitor, first)
        first.told_to_end()
        assert first.process.wait(20) == 0
    with program(tmp_path) as second, visiting(browser, second.url) as visitor:
        visitor.send(QUESTION)
        second.release("all")
        expect(visitor.badges).to_have_count(1)
        expect(visitor.hits).to_have_count(0)
        expect(visitor.answers.last).to_contain_text(f"You asked: {QUESTION}")
