"""Models of the hub: downloaded by its own client from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from qwen_ui.engines.catalog import HubSource
from qwen_ui.engines.identity import Placement
from qwen_ui.settings import Settings
from qwen_ui.types import Message
from tests.engines.tiny import ask, save_tiny

NAME = "org/tiny"


class Hub(ThreadingHTTPServer):
    """One model at `commit`; `asked` are the paths that were fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.commit = "a" * 40
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/api/models/"):
            body = self._listing()
        elif "/resolve/" in self.path:
            body = (self.server.folder / self.path.rsplit("/", 1)[1]).read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self._commit)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    @property
    def _commit(self) -> str:
        """The one that is asked for; the newest where a branch is."""
        asked = re.search("[0-9a-f]{40}", self.path)
        return asked[0] if asked else self.server.commit

    def _listing(self) -> bytes:
        files = [{"rfilename": path.name} for path in sorted(self.server.folder.iterdir())]
        if "/tree/" in self.path:
            rows = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40}
                for p in sorted(self.server.folder.iterdir())
            ]
            return json.dumps(rows).encode()
        return json.dumps({"id": NAME, "sha": self._commit, "siblings": files}).encode()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(save_tiny(tmp_path / "model"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    original = huggingface_hub.snapshot_download

    def download(*args: object, **kwargs: object) -> object:
        cache = tmp_path / "hub"
        return original(*args, **kwargs, endpoint=address, cache_dir=cache)  # type: ignore[call-overload]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def source(tmp_path: Path) -> HubSource:
    return HubSource(NAME, None, Placement(device="cpu"), Settings(cache_dir=tmp_path))  # type: ignore[call-arg]


def test_the_identity_needs_no_weights_and_pins_the_commit(hub: Hub, tmp_path: Path) -> None:
    first = source(tmp_path).resolve()
    assert first.revision == "a" * 40
    assert not [path for path in hub.asked if path.endswith(".safetensors")]
    hub.commit = "b" * 40
    second = source(tmp_path).resolve()
    assert second.revision == "b" * 40
    assert second.fingerprint() != first.fingerprint()


def test_the_commit_that_the_keys_are_made_of_is_loaded_though_there_is_a_newer_one(
    hub: Hub, tmp_path: Path
) -> None:
    model = source(tmp_path)
    spec = model.resolve()
    hub.commit = "b" * 40
    hub.asked.clear()
    told: list[float] = []
    engine = model.load(spec, told.append)
    weights = [path for path in hub.asked if path.endswith(".safetensors")]
    assert weights
    assert all("a" * 40 in path for path in weights)
    assert ask(engine, Message("user", ("Hi",)), max_tokens=2).completion.completion_tokens == 2
    engine.close()
    assert told == sorted(told)  # the bar never goes back
    assert any(0 < fraction <= 0.8 for fraction in told)  # downloading
    assert told[-1] == 1.0
