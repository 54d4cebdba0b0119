"""Which models are offered."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from qwen_ui.engines import catalog
from qwen_ui.engines.catalog import FolderSource, HubSource, choose_default, model_sources
from qwen_ui.engines.identity import Placement
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.errors import ModelFailed
from qwen_ui.settings import Settings
from tests.engines.tiny import save_tiny


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def settings(tmp_path: Path, **values: str) -> Settings:
    return Settings(cache_dir=tmp_path, device="cpu", **values)  # type: ignore[arg-type]


def test_auto_is_the_demo_model_without_a_cuda_device_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with caplog.at_level(logging.INFO):
        assert choose_default(settings(tmp_path)) == "demo"
    assert "no CUDA device" in caplog.text


def test_auto_is_the_demo_model_where_the_weights_are_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with caplog.at_level(logging.INFO):
        assert choose_default(settings(tmp_path)) == "demo"
    assert "out of reach" in caplog.text


def test_auto_is_the_real_model_with_a_cuda_device_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(catalog, "_unreachable", lambda model: None)
    assert choose_default(settings(tmp_path)) == "Qwen/Qwen3-VL-4B-Instruct"


def test_the_picker_offers_the_default_first_and_the_demo_models_always(tmp_path: Path) -> None:
    sources = model_sources(settings(tmp_path, model="org/a", models="org/b, org/a"))
    assert [source.name for source in sources] == ["org/a", "org/b", "demo", "demo-thinking"]


def test_a_hub_model_out_of_reach_is_one_clear_sentence(tmp_path: Path) -> None:
    source = model_sources(settings(tmp_path, model="org/nowhere"))[0]
    with pytest.raises(ModelFailed, match="hub cannot be reached") as caught:
        source.resolve()
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = model_sources(settings(tmp_path, model=str(tmp_path / "empty")))[0]
    with pytest.raises(ModelFailed, match="safetensors"):
        source.resolve()


def test_a_folder_is_resolved_and_loaded(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "my-model")
    source = model_sources(settings(tmp_path, model=str(folder)))[0]
    spec = source.resolve()
    assert (spec.model, spec.source, spec.demo) == ("my-model", str(folder), False)
    source.load(spec, lambda fraction: None).close()


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    models = "openai:http://127.0.0.1:1/v1#m,openai:http://127.0.0.1:2/v1#m"
    with pytest.raises(ModelFailed, match="two of this name"):
        model_sources(settings(tmp_path, model="demo", models=models))


def test_short_names_of_published_models_are_enough(tmp_path: Path) -> None:
    chosen = settings(tmp_path, model="4b", models="8b-thinking, 4B, Qwen/Qwen3-VL-4B-Instruct")
    names = [source.name for source in model_sources(chosen)]
    assert names[:2] == ["Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen3-VL-8B-Thinking"]
    assert len(names) == 4  # and the demo models: one model under three names is one


def test_a_revision_belongs_to_the_default_model_whatever_name_it_was_given(tmp_path: Path) -> None:
    first, second, *_ = model_sources(settings(tmp_path, model="4b", models="8b", revision="v1"))
    assert isinstance(first, HubSource)
    assert isinstance(second, HubSource)
    assert (first.revision, second.revision) == ("v1", None)


def test_a_folder_with_a_short_name_is_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("4b").mkdir()
    assert isinstance(model_sources(settings(tmp_path, model="4b"))[0], FolderSource)


def test_a_folder_that_changed_is_not_loaded_under_its_old_name(tmp_path: Path) -> None:
    """Its answers would be stored as those of the old weights."""
    folder = save_tiny(tmp_path / "tuned")
    registry = EngineRegistry([FolderSource("m", folder, Placement("cpu"), settings(tmp_path))])
    registry.engine("m").result(60)
    registry.unload("m")
    save_tiny(folder, seed=1)
    with pytest.raises(ModelFailed, match="has changed since this program started"):
        registry.engine("m").result(60)
    registry.close()
