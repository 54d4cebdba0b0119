"""An unloaded model is really gone: the object, and the storage of every tensor of it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.catalog import FolderSource
from qwen_ui.engines.identity import Placement
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.settings import Settings
from qwen_ui.types import Message
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
