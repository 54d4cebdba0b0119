from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from qwen_ui import errors, remote_errors, video_errors
from qwen_ui.errors import QwenUIError
from qwen_ui.types import ModelState
from qwen_ui.ui import i18n
from qwen_ui.ui.i18n import choose_language, languages, locale, texts

MODULES = (errors.__name__, remote_errors.__name__, video_errors.__name__)
CODE = Path(i18n.__file__).parent


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def kinds(root: type[QwenUIError] = QwenUIError) -> list[type[QwenUIError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


EXAMPLES = [
    QwenUIError("something"),
    errors.BadRequest("what is wrong"),
    errors.EmptyQuestion(),
    errors.QuestionTooLong(5, 4),
    errors.TooManyPictures(8),
    errors.BadPicture("a.png"),
    errors.FileTooBig("a.png", "9", "8"),
    errors.PictureTooBig("a.png", 9000, 9000, 67),
    errors.PictureVast("a.png", 67),
    errors.PictureNarrow("a.png"),
    errors.PictureGone(),
    errors.ContextTooLong(9, 8),
    errors.UnknownModel("m"),
    errors.NotCached(),
    errors.StoreFailed(),
    errors.EngineBusy(3),
    errors.WaitedTooLong(300),
    errors.ModelFailed("m", "no weights"),
    errors.OutOfMemory(),
    errors.ShuttingDown(),
    errors.GenerationFailed("it broke"),
    remote_errors.RemoteContextTooLong(),
    remote_errors.RemoteTooBig(),
    remote_errors.RemoteFailed(reason="it broke"),
    remote_errors.RemoteDown(model="m"),
    remote_errors.RemoteBusy(),
    remote_errors.RemoteSlow(seconds=30),
    remote_errors.RemoteCut(),
    remote_errors.RemoteRefused(model="m"),
    remote_errors.RemoteLacksModel(model="m"),
    remote_errors.RemoteChanged(model="m"),
    remote_errors.RemoteFiltered(),
    video_errors.VideoRefused("is not looked at.", "a.mp4"),
    video_errors.BadVideo("a.mp4"),
    video_errors.VideoWithoutFrames("a.mp4"),
    video_errors.VideoNotSupported("a.mp4"),
    video_errors.VideoTooBig("a.mp4", 7680, 4320, 9),
    video_errors.VideoTooLong("a.mp4", "2:00:00", "1:00:00"),
    video_errors.VideoTooHeavy("a.mp4"),
    video_errors.NoSuchPart("a.mp4", "0:20", "0:30"),
]


def test_there_are_english_and_chinese() -> None:
    assert languages() == ("en", "zh")


@pytest.mark.parametrize("language", languages())
def test_every_locale_has_the_same_keys(language: str) -> None:
    assert locale(language).keys() == locale("en").keys()


@pytest.mark.parametrize("language", languages())
def test_every_locale_has_the_same_placeholders(language: str) -> None:
    for key, text in locale(language).items():
        assert placeholders(text) == placeholders(locale("en")[key]), key


@pytest.mark.parametrize("language", languages())
def test_no_text_is_empty_and_chinese_ones_are_chinese(language: str) -> None:
    for key, text in locale(language).items():
        assert text.strip(), key
        bare = re.sub(r"\{\w+\}|p50|p95|·", "", text).strip()
        if language == "zh" and bare:
            assert re.search(r"[\u4e00-\u9fff]", text), key


def test_every_error_is_among_the_examples() -> None:
    ours = {kind for kind in kinds() if kind.__module__ in MODULES}
    assert ours == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_can_be_said(error: QwenUIError, language: str) -> None:
    sentence = texts(language).error(error)
    assert sentence
    assert "{" not in sentence
    for value in error.params.values():
        assert str(value) in sentence


def test_the_code_names_exactly_the_keys_there_are() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in CODE.glob("*.py"))
    groups = {key.split(".")[0] for key in locale("en")}
    named = set(re.findall(rf"""["'](({"|".join(groups)})\.\w+)["']""", code))
    keys = {key for key, _ in named}
    keys |= {f"model.{state.value}" for state in ModelState}  # named by their state
    keys |= {"badge.tip_l1", "badge.tip_l2"}  # and by their tier
    keys |= {kind.text_key for kind in kinds() if kind.__module__ in MODULES}
    assert keys == set(locale("en"))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-TW", "zh"),
        ("ZH", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de-DE,zh;q=0.5,en;q=0.7", "en"),
        ("fr, zh;q=0.3", "zh"),
        ("zh;q=0", "en"),
        ("*", "en"),
        ("zh;q=many", "en"),
        (";;,,", "en"),
    ],
)
def test_the_first_language_that_is_spoken_here_is_chosen(
    header: str | None, language: str
) -> None:
    assert choose_language(header) == language


def test_the_browser_knows_chinese_by_all_its_names() -> None:
    known = i18n.static_labels().translations
    assert {"en", "zh", "zh-CN", "zh-TW", "zh-HK"} <= known.keys()
    assert known["zh-TW"] == locale("zh")
