"""How the service is wired and launched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from gradio.utils import get_upload_folder

from qwen_ui import server
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.server import Server, build_service, launch
from qwen_ui.settings import Settings
from qwen_ui.types import ModelState
from tests.service import ScriptedSource


class _PageWithoutPort:
    """A page whose launch finds its port taken."""

    launch_options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, *_: object) -> None:
        self.blocks = self

    def queue(self, **_: object) -> _PageWithoutPort:
        return self

    def launch(self, **_: object) -> NoReturn:
        raise OSError("the port is taken")


def test_no_model_is_loaded_where_the_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the program ends there, and to end while a thread loads torch has crashed
    monkeypatch.setattr(server, "build_page", _PageWithoutPort)
    options: dict[str, Any] = {"cache_dir": tmp_path}
    settings = Settings(**options)
    service = build_service(settings, EngineRegistry([ScriptedSource()]))
    try:
        with pytest.raises(OSError, match="port is taken"):
            launch(settings, service)
        assert [model.state for model in service.models()] == [ModelState.UNLOADED]
    finally:
        service.close(0.0)


class _Page(_PageWithoutPort):
    def launch(self, **_: object) -> tuple[None, str, None]:  # type: ignore[override]
        return None, "http://127.0.0.1", None

    def close(self, **_: object) -> None:
        pass


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Server]:
    monkeypatch.setattr(server, "build_page", _Page)
    options: dict[str, Any] = {"cache_dir": tmp_path}
    settings = Settings(**options)
    return lambda: launch(settings, build_service(settings, EngineRegistry([ScriptedSource()])))


def test_a_program_keeps_its_uploads_in_a_folder_of_its_own_and_removes_it(
    launched: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    one = launched()
    assert one.uploads is not None
    folder = Path(one.uploads)
    assert get_upload_folder() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    one.close(0.0)
    assert not folder.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_uploads_stay_where_the_operator_wants_them(
    launched: Callable[[], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    one = launched()
    one.close(0.0)
    assert one.uploads is None
    assert tmp_path.exists()
