"""A server that is not ours: `transformers serve` with the demo model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from qwen_ui import remote_errors
from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.base import Engine, Sampling
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.remote import RemoteSource, remote_source
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason, Image, Message
from tests.engines.test_remote import settings
from tests.engines.tiny import Heard, ask, picture, submit

pytest.importorskip("openai", reason="`transformers serve` needs the openai package")

FOLDER = VARIANTS["demo"]
ROOT = Path(__file__).parents[2]


class Foreign:
    """The server's process."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        (directory / "hub").mkdir()  # it lists the models of the hub's cache, and insists on one
        self.log = directory / "serve.log"
        environment = os.environ | {
            "HF_HOME": str(directory),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        }
        command = [sys.executable, "-m", "tests.engines.serve_demo", str(FOLDER), str(self.port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def wait(self) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=1)
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    foreign = Foreign(tmp_path_factory.mktemp("serve"))
    try:
        foreign.wait()
        yield foreign
    finally:
        foreign.end()


def source(foreign: Foreign, directory: Path, model: str = str(FOLDER)) -> RemoteSource:
    return remote_source(f"openai:{foreign.url}#{model}", settings(directory))


@pytest.fixture
def engine(foreign: Foreign, tmp_path: Path) -> Iterator[Engine]:
    found = source(foreign, tmp_path)
    engine = found.load(found.resolve(), lambda fraction: None)
    yield engine
    engine.close()


def question(text: str, *images: Image) -> Message:
    return Message("user", (*images, text))


@pytest.mark.timeout(400)  # it starts the server
def test_it_answers_as_the_same_model_does_here(engine: Engine) -> None:
    spec = resolve_spec("demo", FOLDER, "1", Placement("cpu"), source="here")
    here = load_engine(spec, FOLDER, lambda fraction: None)
    try:
        for asked in (question("hello"), question("what shape is it?", picture(1, (128, 128)))):
            there = ask(engine, asked, max_tokens=30)
            same = ask(here, asked, max_tokens=30)
            assert there.text == same.text
            assert there.completion.reason is same.completion.reason
            assert there.completion.prompt_tokens == same.completion.prompt_tokens
            assert there.completion.completion_tokens == same.completion.completion_tokens
    finally:
        here.close()


def test_it_streams_and_is_cut_where_we_ask(engine: Engine) -> None:
    heard = ask(engine, question("hello"), max_tokens=5)
    assert sum(isinstance(event, TextDelta) for event in heard.events) > 2
    assert heard.completion.reason is FinishReason.LENGTH
    assert heard.completion.completion_tokens == 5


def test_it_refuses_a_field_and_is_asked_without(engine: Engine) -> None:
    heard = ask(engine, question("hello"), sampling=Sampling(0.1, 0.9, 5, 1))
    assert heard.text


def test_a_model_that_it_does_not_have_is_a_clear_error(foreign: Foreign, tmp_path: Path) -> None:
    found = source(foreign, tmp_path, model="another")
    engine = found.load(found.resolve(), lambda fraction: None)
    error = ask(engine, question("hello")).failure.error
    engine.close()
    assert isinstance(error, remote_errors.RemoteFailed)
    assert "pinned" in str(error)


def test_several_at_once_and_one_that_is_cancelled(engine: Engine) -> None:
    jobs = [submit(engine, question("hello"), max_tokens=20) for _ in range(4)]
    jobs[1][0].cancel()
    heard = [one.wait() for _, one in jobs]
    assert heard[1].completion.reason is FinishReason.CANCELLED
    assert len({one.text for one in (heard[0], *heard[2:])}) == 1


def test_one_that_stands_still_is_waited_for(foreign: Foreign, engine: Engine) -> None:
    foreign.process.send_signal(signal.SIGSTOP)
    _, heard = submit(engine, question("hello"), max_tokens=20)
    time.sleep(1)
    assert heard.events == []
    foreign.process.send_signal(signal.SIGCONT)
    assert heard.wait().completion.reason is FinishReason.STOP


def test_killed_in_mid_answer(foreign: Foreign, engine: Engine) -> None:
    killed: Heard = submit(engine, question("hello " * 30), max_tokens=500)[1]
    deadline = time.monotonic() + 60
    while not killed.text:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    foreign.end()
    assert isinstance(killed.wait().failure.error, remote_errors.RemoteCut)
    assert isinstance(ask(engine, question("hello")).failure.error, remote_errors.RemoteDown)
