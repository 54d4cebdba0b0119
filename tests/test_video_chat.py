"""Asking about videos: what is hit, what is shared, what the model gets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from qwen_ui import video_frames, videos
from qwen_ui.errors import PictureGone
from qwen_ui.events import ChatEvent
from qwen_ui.runs import Pending
from qwen_ui.server import build_service
from qwen_ui.settings import Settings
from qwen_ui.types import FinishReason, Match, Message, Video
from tests.engines.tiny import save_tiny
from tests.pictures import photo, saved
from tests.service import Chat, collect, error_of, finish, is_hit, status, text, until, usage
from tests.videos import number_of, seconds_of_grey, video

CLIP = video()
LONG = video(seconds_of_grey(22))


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path, max_images=2)
    yield chat
    await chat.close()


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(videos, "read_track", decode)
    monkeypatch.setattr(videos, "pictures_at", decode)


async def test_the_same_video_asked_again_is_a_hit_without_decoding(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await chat.ask(*chat.service.open_video(CLIP).parts, "what happens?")
    assert not is_hit(first)
    forbid_decoding(monkeypatch)
    again = await chat.ask(*chat.service.open_video(CLIP, "renamed.mp4").parts, "what happens?")
    assert is_hit(again)
    assert text(again) == text(first)
    await chat.close()

    restarted = Chat(tmp_path)
    again = await restarted.ask(*restarted.service.open_video(CLIP).parts, "what happens?")
    assert is_hit(again)
    assert restarted.computed == 0
    await restarted.close()


async def test_the_model_gets_times_and_frames_that_were_hashed(chat: Chat) -> None:
    await chat.ask(*chat.service.open_video(CLIP).parts, "what happens?")
    (message,) = chat.engine.computed[-1].messages
    *run, question = message.parts
    assert question == "what happens?"
    assert run[::2] == ["<0.0 seconds>", "<1.0 seconds>", "<2.0 seconds>", "<3.0 seconds>"]
    assert [number_of(frame.load()) for frame in run[1::2]] == [0, 1, 2, 3]  # type: ignore[union-attr]


async def test_two_questions_about_one_video_share_everything_before_the_question(
    chat: Chat,
) -> None:
    for question in ("what happens?", "how many?"):
        await chat.ask(*chat.service.open_video(CLIP).parts, question)
    first, second = (request.messages[0].parts for request in chat.engine.computed)
    assert first[:-1] == second[:-1]
    assert first[-1] != second[-1]


async def test_timestamps_asked_again_over_parts_of_a_long_video(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's case: the same question over one part after the other, and then once more."""
    question = "at which second does it become bright?"

    def parts() -> list[Video]:
        return [
            chat.service.open_video(LONG, start_s=start, end_s=start + 8) for start in (0, 6, 12)
        ]

    first = [await chat.ask(*part.parts, question) for part in parts()]
    assert [is_hit(events) for events in first] == [False, False, False]
    assert len({text(events) for events in first}) == 3  # each tells its own times
    forbid_decoding(monkeypatch)
    again = [await chat.ask(*part.parts, question) for part in parts()]
    assert [is_hit(events) for events in again] == [True, True, True]
    assert [text(events) for events in again] == [text(events) for events in first]
    assert chat.computed == 3
    digests = [
        {part.digest for part in request.messages[0].parts if not isinstance(part, str)}
        for request in chat.engine.computed
    ]
    assert len(digests[0] & digests[1]) == 2  # seconds 6 and 7: their features are shared


async def test_another_wording_about_a_video_gets_the_answer_labelled(chat: Chat) -> None:
    first = await chat.ask(*chat.service.open_video(CLIP).parts, "What happens?")
    again = await chat.ask(*chat.service.open_video(CLIP).parts, "what happens")
    assert status(again).match is Match.EQUIVALENT
    assert status(again).asked == "What happens?"
    assert text(again) == text(first)


async def test_equal_frames_at_other_times_are_another_question(chat: Chat) -> None:
    still = video(seconds_of_grey(1, 40))
    for start in (0, 1):
        part = chat.service.open_video(still, start_s=start, end_s=start + 2)
        assert not is_hit(await chat.ask(*part.parts, "what?"))


async def test_two_parts_of_a_video_are_another_question_than_the_whole(chat: Chat) -> None:
    """The same frames at the same times: what tells them apart is where a video begins."""
    whole = chat.service.open_video(CLIP)
    parts = [chat.service.open_video(CLIP, start_s=start, end_s=start + 2) for start in (0, 2)]
    shown = [part if isinstance(part, str) else part.digest for part in whole.parts]
    both = (*parts[0].parts, *parts[1].parts)
    assert [part if isinstance(part, str) else part.digest for part in both] == shown
    await chat.ask(*whole.parts, "what?")
    assert not is_hit(await chat.ask(*both, "what?"))
    assert is_hit(await chat.ask(*whole.parts, "what?"))


async def test_times_that_are_written_alike_are_another_question(
    chat: Chat, tmp_path: Path
) -> None:
    """A model that is shown two frames at the mean of their times may read another time."""
    still = video(seconds_of_grey(1, 40))
    await chat.close()
    asked = []
    for fps in (3.0, 2.9):
        other = Chat(tmp_path, video_fps=fps)
        asked.append(other.service.open_video(still, end_s=0.9).parts)
        assert not is_hit(await other.ask(*asked[-1], "what?"))
        await other.close()
    assert asked[0][::2] == asked[1][::2] == ("<0.0 seconds>", "<0.3 seconds>", "<0.7 seconds>")


@pytest.mark.parametrize("other", [{"video_fps": 2.0}, {"video_frames": 2}], ids=str)
async def test_another_sampling_is_another_question(
    chat: Chat, tmp_path: Path, other: dict[str, Any]
) -> None:
    await chat.ask(*chat.service.open_video(CLIP).parts, "what?")
    await chat.close()
    restarted = Chat(tmp_path, **other)
    assert not is_hit(await restarted.ask(*restarted.service.open_video(CLIP).parts, "what?"))
    await restarted.close()


async def test_a_follow_up_brings_the_video_along(chat: Chat) -> None:
    opened = chat.service.open_video(CLIP)
    history = [
        Message("user", (*opened.parts, "what?")),
        Message("assistant", ("A grey wall.",)),
        Message("user", ("and then?",)),
    ]
    events = [event async for event in chat.service.stream(chat.service.open(history))]
    assert text(events).startswith("You asked: and then?")
    assert chat.engine.computed[-1].messages == tuple(history)


async def test_a_file_is_opened_as_what_it_is(chat: Chat) -> None:
    assert isinstance(chat.service.open_upload(CLIP, "a"), Video)
    picture = chat.service.open_upload(saved(photo()), "a.mp4")
    assert not isinstance(picture, Video)
    await chat.ask(*picture.parts, *chat.service.open_upload(CLIP, "a").parts, "which?")
    assert chat.computed == 1


# --- frames that are no longer in memory -------------------------------------------------------


class Decoder:
    """On which threads videos are decoded, and a gate before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._real = video_frames.pictures_at
        monkeypatch.setattr(videos, "pictures_at", self._pictures_at)

    def _pictures_at(self, *args: Any) -> Iterator[PILImage.Image]:
        self.threads.append(threading.current_thread().name)
        assert self.gate.wait(20)
        return self._real(*args)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    return Decoder(monkeypatch)


async def long_dropped(chat: Chat, decoder: Decoder) -> Video:
    """A video whose frames have left memory; the model is loaded."""
    await chat.ask("load the model")
    opened = chat.service.open_video(CLIP)
    chat.videos.clear()
    decoder.threads.clear()
    return opened


async def test_the_thread_of_the_model_decodes_no_video(chat: Chat, decoder: Decoder) -> None:
    opened = await long_dropped(chat, decoder)
    assert text(await chat.ask(*opened.parts, "what?")).endswith("what? ")
    (thread,) = decoder.threads
    assert thread.startswith("decoder")


async def test_others_get_their_answers_while_a_video_is_decoded(
    chat: Chat, decoder: Decoder
) -> None:
    opened = await long_dropped(chat, decoder)
    decoder.gate.clear()
    task = asyncio.create_task(chat.ask(*opened.parts, "what?"))
    await until(lambda: decoder.threads)
    assert text(await asyncio.wait_for(chat.ask("hello"), 5)) == "You asked: hello "
    assert not task.done()
    decoder.gate.set()
    assert text(await task).endswith("what? ")


async def test_a_question_that_is_stopped_while_its_video_is_decoded_asks_no_model(
    chat: Chat, decoder: Decoder
) -> None:
    opened = await long_dropped(chat, decoder)
    computed = chat.computed
    decoder.gate.clear()
    pending = chat.service.lookup(chat.request(*opened.parts, "what?"))
    assert isinstance(pending, Pending)
    task = asyncio.create_task(collect(chat.service.run(pending)))
    await until(lambda: decoder.threads)
    pending.stop()
    assert finish(await asyncio.wait_for(task, 5)).reason is FinishReason.CANCELLED
    decoder.gate.set()
    await chat.close()
    assert chat.computed == computed


async def test_a_question_that_is_stopped_while_others_are_decoded_has_nothing_decoded(
    chat: Chat, decoder: Decoder
) -> None:
    *others, third = [
        chat.service.open_video(data).parts for data in (CLIP, LONG, video(seconds_of_grey(3)))
    ]
    chat.videos.clear()
    decoder.threads.clear()
    decoder.gate.clear()
    answers = [asyncio.create_task(chat.ask(*parts, "what?")) for parts in others]
    await until(lambda: len(decoder.threads) == 2)  # all decoders are busy
    pending = chat.service.lookup(chat.request(*third, "what?"))
    assert isinstance(pending, Pending)
    answers.append(asyncio.create_task(collect(chat.service.run(pending))))
    await asyncio.sleep(0.1)
    pending.stop()
    decoder.gate.set()
    reasons = [finish(events).reason for events in await asyncio.gather(*answers)]
    assert reasons == [FinishReason.STOP, FinishReason.STOP, FinishReason.CANCELLED]
    await chat.close()
    assert len(decoder.threads) == 2


async def test_a_video_that_is_gone_is_a_clear_error(
    chat: Chat, decoder: Decoder, tmp_path: Path
) -> None:
    opened = await long_dropped(chat, decoder)
    (tmp_path / "media" / "originals" / opened.id).unlink()
    error = await error_of(chat.service.stream(chat.request(*opened.parts, "what?")))
    assert isinstance(error, PictureGone)


async def test_nothing_is_prepared_where_a_video_would_have_to_be_decoded(
    chat: Chat, decoder: Decoder
) -> None:
    opened = await long_dropped(chat, decoder)
    chat.service.prepare([Message("user", opened.parts)])
    await chat.ask("after it")
    assert (chat.engine.prepared, decoder.threads) == ([], [])
    chat.service.prepare([Message("user", chat.service.open_video(LONG).parts)])
    await until(lambda: chat.engine.prepared)


# --- a model that reads videos natively ---------------------------------------------------------


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"), video=True)


class Program:
    """The service of these settings, with the model of a folder."""

    def __init__(self, folder: Path, directory: Path, **settings: Any) -> None:
        fixed: dict[str, Any] = {
            "max_tokens": 8,
            "audit_rate": 0.0,
            "device": "cpu",
            "model": str(folder),
        }
        self.service = build_service(Settings(cache_dir=directory, **fixed | settings))

    async def ask(self, data: bytes, question: str) -> list[ChatEvent]:
        parts = (*self.service.open_video(data).parts, question)
        return await collect(self.service.stream(self.service.open([Message("user", parts)])))

    async def close(self) -> None:
        await asyncio.to_thread(self.service.close, 0.0)


async def test_read_natively_a_video_is_a_hit_and_two_questions_share_all_before_them(
    native_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(native_folder, tmp_path)
    first = await program.ask(CLIP, "what?")
    other = await program.ask(CLIP, "how many?")
    assert [is_hit(events) for events in (first, other)] == [False, False]
    assert usage(first).known_pictures == 0
    assert usage(other).known_pictures == 2  # pairs of the four frames
    rest = usage(other).prompt_tokens - usage(other).cached_tokens
    assert rest < len("how many?<|im_end|>\n<|im_start|>assistant\n")
    forbid_decoding(monkeypatch)
    again = await program.ask(CLIP, "how many?")
    assert is_hit(again)
    assert text(again) == text(other)
    await program.close()


async def test_the_two_ways_to_read_a_video_share_no_answer(
    native_folder: Path, tmp_path: Path
) -> None:
    counts = []
    for way in ("native", "pictures", "auto"):
        program = Program(native_folder, tmp_path, video_input=way)
        events = await program.ask(CLIP, "what?")
        assert is_hit(events) == (way == "auto")  # which is native
        counts.append(usage(events).prompt_tokens)
        await program.close()
    assert counts[0] == counts[2] != counts[1]


async def test_what_is_set_for_other_models_leaves_the_demo_model_at_pictures(
    tmp_path: Path,
) -> None:
    program = Program(Path("demo"), tmp_path, video_input="native")
    assert not is_hit(await program.ask(CLIP, "what?"))
    assert [model.native_video for model in program.service.models() if model.demo] == [False]
    await program.close()
