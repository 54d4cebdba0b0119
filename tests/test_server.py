"""How the service is wired and launched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from qwen_ui import server
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.server import build_service, launch
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
