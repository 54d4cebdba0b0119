"""Remote models by name, and what identifies them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen_ui.engines.base import EngineSpec, Sampling
from qwen_ui.engines.catalog import model_sources
from qwen_ui.engines.remote import RemoteSource, read_keys, remote_source
from qwen_ui.engines.remote_identity import Remembered
from qwen_ui.errors import ModelFailed
from qwen_ui.settings import Settings
from qwen_ui.types import Message
from tests.engines.openai_server import CARD, MODEL, OpenAIServer, hangs, lists, refuses
from tests.engines.tiny import ask

A, B = "http://127.0.0.1:1/v1", "https://b.example/v1"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    yield server
    server.kill()


def settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(cache_dir=tmp_path, **values)


def source(tmp_path: Path, *urls: str, model: str = MODEL, keys: str = "") -> RemoteSource:
    spelled = f"openai:{'|'.join(urls)}#{model}"
    return remote_source(spelled, settings(tmp_path, remote_keys=keys))


def test_a_name_has_addresses_and_a_model(tmp_path: Path) -> None:
    found = remote_source(f"openai:{A}/|{B}#org/name", settings(tmp_path))
    assert (found.name, found.urls) == ("openai:org/name", (A, B))


@pytest.mark.parametrize(
    "spelled",
    [
        "openai:",
        "openai:#m",
        f"openai:{A}",
        f"openai:{A}#",
        f"openai:{A}|#m",
        "openai:127.0.0.1:8000/v1#m",
        "openai:ftp://a/v1#m",
        "openai:http:///v1#m",
        "openai:http://a:port/v1#m",
        "openai:http://me:secret@a/v1#m",
        "openai:http://a/v1?key=secret#m",
    ],
)
def test_what_is_no_name_is_a_clear_error(tmp_path: Path, spelled: str) -> None:
    with pytest.raises(ModelFailed, match="write it as openai:http"):
        model_sources(settings(tmp_path, model=spelled))


def test_the_catalog_offers_it_beside_the_others(tmp_path: Path) -> None:
    both = settings(tmp_path, model=f"openai:{A}#m", models=f"openai:{B}#n")
    names = [source.name for source in model_sources(both)]
    assert names == ["openai:m", "openai:n", "demo", "demo-thinking"]


def test_a_key_goes_to_its_own_host_only(tmp_path: Path) -> None:
    keys = "127.0.0.1:1=one, b.example=t=wo"
    assert source(tmp_path, A, B, keys=keys).keys == {A: "one", B: "t=wo"}
    assert source(tmp_path, "http://127.0.0.1:2/v1", keys=keys).keys == {
        "http://127.0.0.1:2/v1": None
    }


@pytest.mark.parametrize("spelled", ["sk-secret", "=sk-secret", "host="])
def test_keys_that_cannot_be_read_are_not_repeated(spelled: str) -> None:
    with pytest.raises(ModelFailed, match="HOST=KEY") as caught:
        read_keys(spelled)
    assert "secret" not in str(caught.value)


def test_a_key_is_nowhere_but_in_the_request(server: OpenAIServer, tmp_path: Path) -> None:
    host = server.url.removeprefix("http://").removesuffix("/v1")
    found = source(tmp_path, server.url, keys=f"{host}=sk-secret")
    spec = found.resolve()
    engine = found.load(spec, lambda fraction: None)
    ask(engine, Message("user", ("hi",)))
    engine.close()
    assert server.asked[0][1]["Authorization"] == "Bearer sk-secret"
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert "sk-secret" not in f"{spec} {found} {found.settings} {written}"


def test_the_identity_is_what_the_server_tells_and_not_where_it_is(
    server: OpenAIServer, tmp_path: Path
) -> None:
    spec = source(tmp_path, server.url).resolve()
    assert (spec.engine, spec.model, spec.remote) == ("openai", MODEL, True)
    assert json.loads(spec.revision) == {"max_model_len": 4096, "owned_by": "vllm"}
    assert (spec.context_tokens, spec.sampling) == (4096, Sampling())
    moved = replace(spec, source="http://elsewhere/v1")
    assert moved.fingerprint() == spec.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"root": "/models/other"},
        {"max_model_len": 8192},
        {"owned_by": "sglang"},
        {"meta": {"n_params": 4, "size": 7}},
    ],
)
def test_another_build_has_another_fingerprint(
    server: OpenAIServer, tmp_path: Path, change: dict[str, object]
) -> None:
    before = source(tmp_path, server.url).resolve()
    server.on_models = lists(CARD | change)
    assert source(tmp_path, server.url).resolve().fingerprint() != before.fingerprint()


def test_when_it_was_asked_is_no_part_of_it(server: OpenAIServer, tmp_path: Path) -> None:
    before = source(tmp_path, server.url).resolve()
    server.on_models = lists({"id": "another"}, CARD | {"created": 2, "permission": [{"id": "x"}]})
    assert source(tmp_path, server.url).resolve() == before


def test_it_is_remembered_while_the_server_is_down(server: OpenAIServer, tmp_path: Path) -> None:
    before = source(tmp_path, server.url).resolve()
    server.kill()
    assert source(tmp_path, server.url).resolve() == before
    assert source(tmp_path, A, server.url).resolve().fingerprint() == before.fingerprint()


def test_a_server_that_never_was_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="cannot be reached") as caught:
        source(tmp_path, A).resolve()
    assert MODEL in str(caught.value)


def test_a_server_that_refuses_the_key_says_so(server: OpenAIServer, tmp_path: Path) -> None:
    server.on_models = refuses(401)
    with pytest.raises(ModelFailed, match="QWEN_UI_REMOTE_KEYS"):
        source(tmp_path, server.url).resolve()


@pytest.mark.parametrize("models", [refuses(404), lists(), lists({"id": "another"})])
def test_a_server_that_tells_nothing_is_believed(
    server: OpenAIServer, tmp_path: Path, models: object
) -> None:
    server.on_models = models  # type: ignore[assignment]
    found = source(tmp_path, server.url)
    spec: EngineSpec = found.resolve()
    assert spec.revision == "untold"
    engine = found.load(spec, lambda fraction: None)
    assert ask(engine, Message("user", ("hi",))).text == "one two three"
    engine.close()


def test_the_first_server_that_answers_tells(server: OpenAIServer, tmp_path: Path) -> None:
    assert source(tmp_path, A, server.url).resolve().context_tokens == 4096


def test_a_server_that_hangs_is_not_waited_for_long(
    server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen_ui.engines.remote_identity._PATIENCE_S", 0.3)
    server.on_models = hangs
    with pytest.raises(ModelFailed, match="silent"):
        source(tmp_path, server.url).resolve()


def test_what_is_remembered_may_be_damaged(server: OpenAIServer, tmp_path: Path) -> None:
    for damage in ("{oops", "[]", json.dumps({f"{server.url}#{MODEL}": 7})):
        (tmp_path / "remote.json").write_text(damage)
        assert source(tmp_path, server.url).resolve().context_tokens == 4096


def test_what_many_servers_tell_at_once_is_all_remembered(tmp_path: Path) -> None:
    file = tmp_path / "remote" / "identities.json"
    urls = [f"http://host-{number}/v1" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: Remembered(file).put(url, MODEL, {"owned_by": url}), urls))
    assert [Remembered(file).get(url, MODEL) for url in urls] == [{"owned_by": url} for url in urls]
    assert list(file.parent.iterdir()) == [file]


def test_what_cannot_be_remembered_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "identities.json"
    file.mkdir()  # in the way
    Remembered(file).put("http://host/v1", MODEL, {"owned_by": "me"})
    assert "will not be remembered" in caplog.text
    assert list(tmp_path.iterdir()) == [file]


def test_a_thinking_model_keeps_its_published_sampling(
    server: OpenAIServer, tmp_path: Path
) -> None:
    model = "Qwen/Qwen3-VL-4B-Thinking"
    server.on_models = lists(CARD | {"id": model})
    spec = source(tmp_path, server.url, model=model).resolve()
    assert (spec.thinking, spec.sampling.temperature) == (True, 1.0)
    assert not spec.repeats(spec.sampling)
    assert spec.repeats(Sampling())
