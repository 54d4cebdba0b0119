"""What a visitor does and sees, in the words of the tests."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

SEND = "#box [data-testid=submit-button]"
STOP = "#box .stop-button"
_CARRY = """([selector, kind, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type}));
  const options = {bubbles: true, cancelable: true};
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', {...options, clipboardData: carried})
    : new DragEvent('drop', {...options, dataTransfer: carried});
  document.querySelector(selector).dispatchEvent(event);
}"""


class Visitor:
    """One open page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.goto(url)
        page.wait_for_selector("#chat .example")

    # --- doing ---------------------------------------------------------------------------------

    def type(self, text: str) -> None:
        self.page.fill("#box textarea", text)

    def send(self, text: str) -> None:
        """Type and press Enter."""
        self.type(text)
        self.page.press("#box textarea", "Enter")

    def ask(self, text: str) -> Locator:
        """Send, wait for the answer's end; the badge."""
        count = self.badges.count()
        self.send(text)
        expect(self.badges).to_have_count(count + 1)
        return self.badges.last

    def attach(self, *files: Path) -> None:
        """Choose files with the button."""
        with self.page.expect_file_chooser() as chooser:
            self.page.click("#box [data-testid=upload-button]")
        chooser.value.set_files(files)

    def paste(self, file: Path) -> None:
        self._carry("#box textarea", "paste", file)

    def drop(self, file: Path) -> None:
        self._carry("#box .full-container", "drop", file)

    def new_chat(self) -> None:
        self.page.click("#new-chat")
        expect(self.page.locator("#chat .example").first).to_be_visible()

    def choose_model(self, name: str) -> None:
        self.page.click("#model input")
        # the list glides open: a click would wait for it to rest
        self.page.get_by_role("option", name=name, exact=True).dispatch_event("mousedown")
        expect(self.page.locator("#model input")).to_have_value(name)

    def edit(self, number: int) -> None:
        row = self.page.locator("#chat .message-buttons-right").nth(number)
        row.get_by_label("Edit").click()

    def _carry(self, selector: str, kind: str, file: Path) -> None:
        data = base64.b64encode(file.read_bytes()).decode()
        self.page.evaluate(_CARRY, [selector, kind, file.name, "image/png", data])

    # --- seeing --------------------------------------------------------------------------------

    @property
    def questions(self) -> Locator:
        return self.page.locator("#chat .question")

    @property
    def answers(self) -> Locator:
        return self.page.locator("#chat .bot-row")

    @property
    def badges(self) -> Locator:
        return self.page.locator("#chat .badge")

    @property
    def hits(self) -> Locator:
        return self.page.locator("#chat .badge.hit")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#told .notice")

    @property
    def attached(self) -> Locator:
        return self.page.locator("#box .thumbnail-item")

    @property
    def pictures(self) -> Locator:
        return self.page.locator("#chat .pictures img")

    @property
    def text(self) -> str:
        return self.page.input_value("#box textarea")


OpenPage = Callable[..., Visitor]
