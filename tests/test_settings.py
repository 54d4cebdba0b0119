"""One class: environment, flags and help say the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest

from qwen_ui.settings import Settings, read_settings

DEFAULT: Callable[..., Settings] = Settings  # mypy does not see defaults that are positional
FIELDS = sorted(Settings.model_fields)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIELDS:
        monkeypatch.delenv(f"QWEN_UI_{name.upper()}", raising=False)


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on stderr when the arguments are refused."""
    with pytest.raises(SystemExit) as caught:
        read_settings(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    return told.err


def test_the_defaults_are_those_of_the_class() -> None:
    assert read_settings([]) == DEFAULT()


def test_a_flag_beats_the_environment_and_the_environment_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QWEN_UI_PORT", "1111")
    monkeypatch.setenv("QWEN_UI_CACHE_TTL_S", "5.5")
    settings = read_settings(["--port", "2222"])
    assert (settings.port, settings.cache_ttl_s, settings.host) == (2222, 5.5, "127.0.0.1")


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_a_variable_and_a_flag_with_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    default = getattr(DEFAULT(), name)
    chosen = {
        "dtype": "float32",
        "attention": "eager",
        "log_level": "debug",
        "quantization": "torchao-int8",
        "decoding": "eager",
        "video_input": "pictures",
        "cache_match": "exact",
        "visibility": "session",
        "audit_rate": "0.5",
        "video_fps": "2",
        "video_frames": "8",
    }
    value = chosen.get(name)
    if isinstance(default, bool):
        value = "true"
    elif value is None:
        value = "2097152" if isinstance(default, int | float) else "4096"
        value = "4321" if name == "port" else value
    monkeypatch.setenv(f"QWEN_UI_{name.upper()}", value)
    by_environment = read_settings([])
    monkeypatch.delenv(f"QWEN_UI_{name.upper()}")
    flag = f"--{name.replace('_', '-')}"
    by_flag = read_settings([flag] if isinstance(default, bool) else [flag, value])
    assert by_environment == by_flag
    assert getattr(by_flag, name) != default
    assert Settings.model_fields[name].description


def test_help_lists_every_flag_with_its_words_and_exits_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        read_settings(["--help"])
    assert caught.value.code == 0
    told = re.sub(r"\s+", "", capsys.readouterr().out)
    assert "Traceback" not in told
    for name in FIELDS:
        assert f"--{name.replace('_', '-')}" in told
        described = Settings.model_fields[name].description
        assert described is not None
        assert re.sub(r"\s+", "", described) in told


def test_a_flag_may_be_switched_off_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_UI_SHARE", "1")
    assert read_settings([]).share
    assert not read_settings(["--no-share"]).share


def test_settings_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        DEFAULT().port = 1


def test_the_home_directory_is_filled_in() -> None:
    assert DEFAULT(cache_dir=Path("~/x")).directory == Path.home() / "x"


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--port", "many"], "--port"),
        (["--port", "70000"], "--port"),
        (["--dtype", "int3"], "--dtype"),
        (["--max-queue", "0"], "--max-queue"),
        (["--cache-ttl-s", "-1"], "--cache-ttl-s"),
        (["--cache-max-bytes", "12"], "--cache-max-bytes"),
        (["--max-tokens", "0"], "--max-tokens"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_flag(
    arguments: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refusal(arguments, capsys)
    assert told.count("\n") == 1
    assert told.startswith(f"{flag} (QWEN_UI_")
    assert arguments[1] in told


def test_each_bad_value_has_a_line_wherever_it_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QWEN_UI_SHARE", "perhaps")
    lines = refusal(["--port", "x"], capsys).splitlines()
    assert sorted(line.split()[0] for line in lines) == ["--port", "--share"]
    assert "perhaps" in "".join(lines)


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--nonsense" in refusal(["--nonsense", "1"], capsys)


def test_a_missing_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--port" in refusal(["--port"], capsys)
