"""The program as an operator starts and stops it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cache_store.cache import open_cache
from qwen_ui.settings import Settings
from tests.cache_store.samples import QUERY, answer

ROOT = Path(__file__).parents[1]


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *flags],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def started(tmp_path: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program on a free port, with the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", "0", "--cache-dir", str(tmp_path), *flags],
        cwd=ROOT,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        yield process, address[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as response:
        content: dict[str, object] = json.load(response)
        return content


def test_help_lists_every_setting() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown.stdout


@pytest.mark.parametrize(
    ("flags", "environment"), [(["--port", "nope"], {}), ([], {"QWEN_UI_PORT": "99999"})]
)
def test_a_bad_setting_is_one_clear_line(flags: list[str], environment: dict[str, str]) -> None:
    refused = run(*flags, **environment)
    assert refused.returncode == 2
    assert "port" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_tells_its_health_and_stops_when_told(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as (process, address):
        health = get(f"{address}/health")
        assert health["status"] == "ok"
        assert "demo" in health["models"]  # type: ignore[operator]
        process.send_signal(number)
        assert process.wait(30) == 0


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused = run("--port", str(other.getsockname()[1]), "--cache-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "Choose another with --port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_of_logins_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    missing = tmp_path / "logins"
    refused = run("--port", "0", "--cache-dir", str(tmp_path), "--logins", str(missing))
    assert refused.returncode == 1
    assert "--logins (QWEN_UI_LOGINS)" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_cache_directory_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = run("--port", "0", "--cache-dir", str(tmp_path / "file"))
    assert refused.returncode == 1
    assert "Choose another with --cache-dir" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_dry_run_tells_what_an_upgrade_would_leave_unused_and_ends(tmp_path: Path) -> None:
    with closing(open_cache(tmp_path)) as cache:
        cache.store(replace(QUERY, model="demo"), answer())
    told = run("--dry-run", "--cache-dir", str(tmp_path))
    assert told.returncode == 0
    assert told.stdout.splitlines() == [
        "demo: 1 of 1 stored answers become stale",
        "demo-thinking: 0 of 0 stored answers become stale",
    ]
    with closing(open_cache(tmp_path)) as cache:
        assert cache.stats().entries == 1
