"""Videos in the chat, driven as Gradio drives it, without a browser."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from qwen_ui.ui.handlers import ChatHandlers
from tests.pictures import photo, saved
from tests.service import Chat
from tests.ui.page import Visitor
from tests.videos import only_sound, seconds_of_grey, video


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path / "cache")
    yield chat
    await chat.close()


@pytest.fixture
def page(chat: Chat) -> Visitor:
    return Visitor(ChatHandlers(chat.service, chat.settings))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(video())
    return path


async def test_a_dropped_video_is_asked_about_and_says_what_is_read(
    page: Visitor, clip: Path
) -> None:
    page.drop(clip)
    assert page.notice == ""
    await page.ask("what happens?", clip)
    assert "<0.0 seconds> <1.0 seconds>" in page.chat[1]["content"][0]["text"]
    assert "▶ 0:04" in page.shown[0]
    assert "clip.mp4: video, 0:04. The model reads 4 single frames, 1 per second" in page.shown[0]
    assert 'alt="clip&#46;mp4"' in page.chat[0]["content"][0]["text"]


async def test_a_model_that_reads_videos_natively_says_so(
    chat: Chat, page: Visitor, clip: Path
) -> None:
    source = chat.sources[0]
    source.spec = replace(source.spec, video="native")
    await page.ask("what happens?", clip)
    assert "The model reads 4 frames of it as a video, 1 per second" in page.shown[0]


async def test_a_video_asked_about_again_is_a_hit_also_in_the_same_chat(
    chat: Chat, page: Visitor, clip: Path
) -> None:
    await page.ask("what happens?", clip)
    assert "cached" in await page.ask("what happens?")
    assert "cached" in await page.ask("what happens?", clip)
    page.clear()
    assert "cached" in await page.ask("what happens?", clip)
    assert chat.computed == 1


async def test_an_edited_question_keeps_its_video(chat: Chat, page: Visitor, clip: Path) -> None:
    await page.ask("what happens?", clip)
    page.edit(0)
    assert "▶ 0:04" in page.banner
    await page.ask("and how fast?")
    assert len(chat.engine.computed[-1].messages[0].parts) == 9


async def test_pictures_and_videos_keep_their_order(
    chat: Chat, page: Visitor, clip: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(saved(photo()))
    await page.ask("which?", picture, clip)
    (message,) = chat.engine.computed[-1].messages
    kinds = [type(part).__name__ for part in message.parts]
    assert kinds == ["Image", *["str", "Frame"] * 4, "str"]


async def test_a_video_that_cannot_be_read_is_refused_in_the_visitors_language(
    chat: Chat, tmp_path: Path
) -> None:
    page = Visitor(ChatHandlers(chat.service, chat.settings), "zh-CN")
    files = {"sound.mp4": only_sound(), "cut.mp4": video()[:500]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    page.drop(*(tmp_path / name for name in files))
    assert "sound.mp4 中没有可以显示的画面" in page.notice
    assert "cut.mp4 无法作为视频读取" in page.notice
    assert page.order is not None
    assert len(page.order["refused"]) == 2


async def test_without_pyav_one_sentence_says_what_to_install(
    page: Visitor, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    page.drop(clip)
    assert "clip.mp4 is a video" in page.notice
    assert "pip install 'av<19'" in page.notice


async def test_an_hour_is_refused_with_its_length(tmp_path: Path) -> None:
    chat = Chat(tmp_path / "cache", max_video_s=60.0)
    page = Visitor(ChatHandlers(chat.service, chat.settings))
    path = tmp_path / "long.mp4"
    path.write_bytes(video(list(seconds_of_grey(8, 10)), times=[n * 60 for n in range(80)]))
    page.drop(path)
    assert "long.mp4 is too long (1:1" in page.notice
    assert "the limit is 1:00" in page.notice
    await chat.close()
