"""An unloaded model is really gone: the object, and the storage of every tensor of it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.base import Job
from qwen_ui.engines.catalog import FolderSource
from qwen_ui.engines.identity import Placement
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.errors import ModelFailed, OutOfMemory
from qwen_ui.settings import Settings
from qwen_ui.types import Message
from tests.engines.conversations import open_engine
from tests.engines.tiny import ask, picture, save_tiny


def held(engine: object) -> list[weakref.ref[object]]:
    """The model, and each parameter and buffer."""
    assert isinstance(engine, TransformersEngine)
    model = engine._machine.model
    return [weakref.ref(part) for part in (model, *model.parameters(), *model.buffers())]


@pytest.mark.parametrize("name", ["tiny", "demo"])
def test_after_unloading_model_and_tensors_are_gone(tmp_path: Path, name: str) -> None:
    folder = save_tiny(tmp_path / "tiny") if name == "tiny" else VARIANTS[name]
    settings = Settings(cache_dir=tmp_path)  # type: ignore[call-arg]
    source = FolderSource(name, folder, Placement(device="cpu"), settings)
    registry = EngineRegistry([source])
    engine = registry.engine(name).result(120)
    ask(engine, Message("user", (picture(), "What is this?")), max_tokens=3)
    parts = held(engine)
    assert len(parts) > 50
    assert all(part() is not None for part in parts)
    assert registry.unload(name)
    gc.collect()
    assert [part() for part in parts if part() is not None] == []  # though `engine` is still held
    registry.close()


def test_a_load_that_fails_leaves_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is kept, for those who ask why; the frames that it came through held the model."""
    folder = save_tiny(tmp_path / "tiny")
    settings = Settings(cache_dir=tmp_path)  # type: ignore[call-arg]
    parts: list[weakref.ref[object]] = []

    def exhausted(engine: TransformersEngine, job: Job) -> None:
        parts.extend(held(engine))
        raise OutOfMemory

    monkeypatch.setattr(TransformersEngine, "_answer", exhausted)
    source = FolderSource("tiny", folder, Placement(device="cpu"), settings)
    registry = EngineRegistry([source])
    with pytest.raises(ModelFailed, match="memory"):
        registry.engine("tiny").result(120)
    gc.collect()
    assert len(parts) > 50
    assert [part() for part in parts if part() is not None] == []
    registry.close()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    engine = open_engine(save_tiny(tmp_path), "float32")
    engine.close()
    engine.close()
