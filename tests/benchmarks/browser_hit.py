"""How long a visitor waits for a stored answer, in the browser: from Send to the drawn text.

The measure beside it is the least that Gradio can do: one `queue=False` handler that returns the
same chat as a constant, on a page that has nothing else. Both are timed inside the page, by a
MutationObserver and the page's own clock, in turns.

    python -m tests.benchmarks.browser_hit
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from qwen_ui.engines.base import GenerationRequest
from tests.browser.rig import CHROMIUM, Served, serve, serve_blocks
from tests.service import ScriptedSource

QUESTION = "What is in the picture?"
_ANSWER = "A red circle is left of a blue square, and there is nothing else in the picture."

_PATIENCE_MS = 120_000  # on a busy machine

# press Send, and resolve with the milliseconds until `done` text is in the last answer
_TIMED = """(done) => new Promise((resolve, reject) => {
  const shown = () => {
    const answers = document.querySelectorAll('#chat [data-testid=bot]');
    return [...answers].some((answer) => answer.textContent.includes(done));
  };
  if (shown()) return reject(new Error('already there'));
  setTimeout(() => reject(new Error('no answer')), 20000);
  const began = performance.now();
  const watcher = new MutationObserver(() => {
    if (!shown()) return;
    watcher.disconnect();
    requestAnimationFrame(() => resolve(performance.now() - began));
  });
  const all = {childList: true, subtree: true, characterData: true};
  watcher.observe(document.querySelector('#chat'), all);
  document.querySelector('#box [data-testid=submit-button]').click();
})"""


def measure(runs: int = 15) -> dict[str, float]:
    """Median milliseconds from Send to the drawn answer, ours and bare, text and picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            text = _compare(browser, runs, None)
            picture = _compare(browser, runs, _photo())
        finally:
            browser.close()
    return {
        "hit_text_ms": text[0],
        "bare_text_ms": text[1],
        "hit_picture_ms": picture[0],
        "bare_picture_ms": picture[1],
    }


def _compare(browser: Browser, runs: int, picture: Path | None) -> tuple[float, float]:
    with serve(ScriptedSource(script=_script)) as served:
        chat = _asked_once(browser, served, picture)
        with _bare(chat, served) as bare:
            pages = _open(browser, served.url), _open(browser, bare)
            ours, theirs = [], []
            for _ in range(runs + 2):  # the first two warm the pages up
                ours.append(_time(pages[0], picture, "cached"))
                theirs.append(_time(pages[1], picture, "cached"))
            for page in pages:
                page.close()
    return statistics.median(ours[2:]), statistics.median(theirs[2:])


def _script(request: GenerationRequest) -> list[str]:
    return [word + " " for word in _ANSWER.split()]


def _asked_once(browser: Browser, served: Served, picture: Path | None) -> list[dict[str, Any]]:
    """Ask, so that the answer is stored, ask again; the chat of the hit as the page got it."""
    page = _open(browser, served.url)
    _fill(page, picture)
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat .badge")
    page.click("#new-chat")
    page.wait_for_selector("#chat .badge", state="detached")
    _fill(page, picture)
    with page.expect_response(
        lambda response: "/run/" in response.url and _is_chat(response)
    ) as got:
        page.keyboard.press("Enter")
    chat = got.value.json()["data"][0]
    page.close()
    return list(chat)


def _is_chat(response: Any) -> bool:
    data = response.json().get("data") or [None]
    return isinstance(data[0], list) and bool(data[0])


@contextmanager
def _bare(chat: list[dict[str, Any]], served: Served) -> Iterator[str]:
    """A page with a chat, a box, and a handler that returns `chat`."""
    with gr.Blocks() as blocks:
        shown = gr.Chatbot(elem_id="chat")
        box = gr.MultimodalTextbox(elem_id="box", file_count="multiple")
        clear = gr.Button("new", elem_id="new-chat")
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}  # as our page has it
        clear.click(lambda: ([], None), None, [shown, box], **quick)
        box.submit(lambda value: (chat, None), box, [shown, box], **quick)
    thumbnails = [str(served.chat.media.thumbnails)]
    with serve_blocks(blocks, allowed_paths=thumbnails, ssr_mode=False, run_history=False) as url:
        yield url


def _open(browser: Browser, url: str) -> Page:
    page = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 800})
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(url)
    page.wait_for_selector("#box textarea")
    page.wait_for_timeout(1000)
    return page


def _fill(page: Page, picture: Path | None) -> None:
    if picture is not None:
        with page.expect_file_chooser() as chooser:
            page.click("#box [data-testid=upload-button]")
        chooser.value.set_files(picture)
        page.wait_for_selector("#box img")
        page.wait_for_timeout(300)  # it is prepared
    page.fill("#box textarea", QUESTION)
    page.focus("#box textarea")


def _time(page: Page, picture: Path | None, done: str) -> float:
    _fill(page, picture)
    took = float(page.evaluate(_TIMED, done))
    page.wait_for_timeout(200)
    page.click("#new-chat")
    page.wait_for_selector("#chat .badge", state="detached")
    page.wait_for_timeout(200)
    return took


def _photo() -> Path:
    """A small photo-like picture."""
    noise = Image.effect_noise((640, 480), 60).convert("RGB")
    sink = io.BytesIO()
    noise.save(sink, "JPEG", quality=85)
    path = Path(tempfile.mkdtemp()) / "photo.jpg"
    path.write_bytes(sink.getvalue())
    return path


if __name__ == "__main__":
    figures = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    for name, value in figures.items():
        print(f"{name}: {value:.1f}")
    for kind in ("text", "picture"):
        ratio = figures[f"hit_{kind}_ms"] / figures[f"bare_{kind}_ms"]
        print(f"{kind}: {ratio:.2f} times the bare handler")
