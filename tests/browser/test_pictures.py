"""Pictures: by button, drop and paste, several, broken, too big, and the biggest there may be."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from PIL import Image
from playwright.sync_api import expect

from tests.browser.rig import Served, wait_until
from tests.browser.visitor import Visitor
from tests.pictures import photo, png, saved

pytestmark = pytest.mark.browser


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write(tmp_path / "red.png", saved(photo()))


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    return write(tmp_path / "blue.png", saved(photo(seed=5)))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def loaded(visitor: Visitor) -> list[bool]:
    """Which pictures in the chat were really drawn."""
    seen = visitor.pictures.evaluate_all("all => all.map((one) => one.naturalWidth > 0)")
    return list(seen)


def test_a_picture_is_asked_about_and_shown_small(
    served: Served, visitor: Visitor, red: Path
) -> None:
    visitor.attach(red)
    expect(visitor.attached).to_have_count(1)
    visitor.ask("what is it?")
    expect(visitor.attached).to_have_count(0)
    expect(visitor.pictures).to_have_count(1)
    wait_until(lambda: loaded(visitor) == [True])
    picture, text = served.engine.computed[-1].messages[-1].parts
    assert text == "what is it?"
    assert not isinstance(picture, str)
    assert picture.load().size == (48, 32)


def test_the_same_picture_under_another_name_is_a_hit(visitor: Visitor, tmp_path: Path) -> None:
    visitor.attach(write(tmp_path / "one.png", saved(photo(seed=9))))
    visitor.ask("seen before?")
    visitor.new_chat()
    visitor.attach(write(tmp_path / "two.bmp", saved(photo(seed=9), "BMP")))
    expect(visitor.attached).to_have_count(1)
    expect(visitor.ask("seen before?")).to_contain_text("cached")


def test_several_pictures_go_into_one_question(
    served: Served, visitor: Visitor, red: Path, blue: Path
) -> None:
    visitor.attach(red, blue)
    expect(visitor.attached).to_have_count(2)
    visitor.ask("what differs?")
    expect(visitor.pictures).to_have_count(2)
    assert len(served.engine.computed[-1].messages[-1].parts) == 3


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(visitor: Visitor, red: Path, how: str) -> None:
    visitor.type("typed before")
    getattr(visitor, how)(red)
    expect(visitor.attached).to_have_count(1)
    assert visitor.text == "typed before"
    visitor.page.press("#box textarea", "Enter")
    expect(visitor.pictures).to_have_count(1)
    expect(visitor.badges).to_have_count(1)


def test_a_broken_picture_is_refused_at_once_and_the_rest_stays(
    visitor: Visitor, tmp_path: Path, red: Path
) -> None:
    visitor.type("typed before")
    visitor.attach(red, write(tmp_path / "broken.png", saved(photo(300, 300))[:4000]))
    expect(visitor.notice).to_have_text(
        "broken.png cannot be read as a picture. Save it as JPEG or PNG and try again."
    )
    expect(visitor.attached).to_have_count(1)
    assert visitor.text == "typed before"
    visitor.ask("typed anew")
    expect(visitor.pictures).to_have_count(1)
    expect(visitor.notice).to_have_count(0)


def test_a_broken_picture_is_refused_as_often_as_it_is_dropped(
    visitor: Visitor, tmp_path: Path
) -> None:
    broken = write(tmp_path / "broken.png", b"\x89PNG nothing")
    for _ in range(2):
        visitor.attach(broken)
        expect(visitor.notice).to_contain_text("broken.png")
        expect(visitor.attached).to_have_count(0)
        visitor.page.locator("#box textarea").press_sequentially("x")
        expect(visitor.notice).to_have_count(0)  # typing ends it


def test_a_picture_too_big_is_refused_before_it_is_decoded(
    visitor: Visitor, tmp_path: Path
) -> None:
    visitor.attach(write(tmp_path / "huge.png", png(2, 8, 9_000, 9_000, b"")))
    expect(visitor.notice).to_contain_text("huge.png is too big")
    expect(visitor.attached).to_have_count(0)


def test_a_file_that_is_no_picture_is_refused(visitor: Visitor, tmp_path: Path) -> None:
    visitor.attach(write(tmp_path / "notes.txt", b"just text"))
    expect(visitor.notice).to_contain_text("notes.txt cannot be read as a picture")
    expect(visitor.attached).to_have_count(0)


def test_the_biggest_picture_there_may_be_is_read(
    served: Served, visitor: Visitor, tmp_path: Path
) -> None:
    side = 8192  # 64 megapixels
    visitor.attach(write(tmp_path / "vast.png", saved(Image.new("1", (side, side)))))
    expect(visitor.attached).to_have_count(1)
    visitor.send("how vast?")
    expect(visitor.badges).to_have_count(1, timeout=60_000)
    expect(visitor.page.locator("#chat .note")).to_contain_text("8192 × 8192 pixels")
    picture = served.engine.computed[-1].messages[-1].parts[0]
    assert not isinstance(picture, str)
    assert (picture.width, picture.height) == (side, side)


def test_what_the_model_does_not_see_of_an_animation_is_said(
    visitor: Visitor, tmp_path: Path
) -> None:
    frames = [photo(seed=seed) for seed in range(3)]
    film = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    visitor.attach(write(tmp_path / "film.gif", film))
    expect(visitor.attached).to_have_count(1)
    visitor.ask("what moves?")
    expect(visitor.page.locator("#chat .note")).to_have_text(
        "film.gif is an animation of 3 frames; the model reads the first."
    )


def test_an_example_fills_the_box_and_is_asked(served: Served, visitor: Visitor) -> None:
    visitor.page.locator("#chat .example").first.click()
    expect(visitor.attached).to_have_count(1)
    expect(visitor.page.locator("#box textarea")).to_have_value("What is in the picture?")
    visitor.page.press("#box textarea", "Enter")
    expect(visitor.pictures).to_have_count(1)
    expect(visitor.badges).to_have_count(1)


def test_a_picture_stays_with_an_edited_question(
    served: Served, visitor: Visitor, red: Path
) -> None:
    visitor.attach(red)
    expect(visitor.attached).to_have_count(1)
    visitor.ask("before the edit")
    visitor.edit(0)
    expect(visitor.page.locator(".editing img")).to_have_count(1)
    visitor.send("after the edit")
    expect(visitor.questions).to_have_text(["after the edit"])
    expect(visitor.pictures).to_have_count(1)
    assert len(served.engine.computed[-1].messages[-1].parts) == 2
