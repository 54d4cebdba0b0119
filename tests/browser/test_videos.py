"""A video in the page: attached like a picture, shown as one frame with its length."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import expect

from tests.browser.rig import Served, wait_until
from tests.browser.visitor import Visitor
from tests.videos import video

pytestmark = pytest.mark.browser


def test_a_video_is_asked_about_and_shown_with_its_length(
    served: Served, visitor: Visitor, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(video())
    visitor.attach(clip)
    expect(visitor.attached).to_have_count(1)
    visitor.ask("what happens?")
    drawn = "all => all.map((one) => one.naturalWidth > 0)"
    wait_until(lambda: visitor.pictures.evaluate_all(drawn) == [True])
    expect(visitor.page.locator("#chat .video")).to_contain_text("0:04")
    expect(visitor.page.locator("#chat .note")).to_have_text(
        "clip.mp4: video, 0:04. The model reads 4 single frames, 1 per second, and no sound."
    )
    assert len(served.engine.computed[-1].messages[-1].parts) == 9
    expect(visitor.page.locator("#chat [data-testid=bot]").first).to_contain_text("<3.0 seconds>")
