"""Who shares answers with whom, and the secret that parts them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from qwen_ui.types import Visitor
from qwen_ui.visibility import Kind, open_visibility

ANN, BOB = Visitor("login:ann", "1"), Visitor("login:bob", "1")
ANN_ELSEWHERE, ONE, TWO = Visitor("login:ann", "2"), Visitor(session="1"), Visitor(session="2")
STRANGER = Visitor()


@pytest.mark.parametrize(
    ("kind", "one", "other", "shared"),
    [
        ("shared", ANN, STRANGER, True),
        ("user", ANN, ANN_ELSEWHERE, True),
        ("user", ANN, BOB, False),
        ("user", ANN, ONE, False),
        ("user", ONE, ONE, True),
        ("user", ONE, TWO, False),
        ("user", Visitor("1"), Visitor(session="1"), False),
        ("user", STRANGER, STRANGER, False),
        ("session", ANN, BOB, True),  # one open page, whoever logs in there
        ("session", ANN, ANN_ELSEWHERE, False),
        ("session", STRANGER, STRANGER, False),
    ],
)
def test_who_shares_answers(
    tmp_path: Path, kind: Kind, one: Visitor, other: Visitor, shared: bool
) -> None:
    visibility = open_visibility(kind, tmp_path)
    assert (visibility.namespace(one) == visibility.namespace(other)) is shared


def test_the_secret_is_the_servers_alone_and_survives_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    before = open_visibility("user", folder).namespace(ANN)
    secret = folder / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["secret"]
    secret.chmod(0o644)  # restored from a backup, say
    assert open_visibility("user", folder).namespace(ANN) == before
    assert secret.stat().st_mode & 0o777 == 0o600


def test_another_server_has_another_secret_and_no_namespace_tells_a_name(tmp_path: Path) -> None:
    here, there = (open_visibility("user", tmp_path / name).namespace(ANN) for name in "ab")
    assert here != there
    assert "ann" not in here


def test_who_shares_everything_needs_no_secret(tmp_path: Path) -> None:
    assert open_visibility("shared", tmp_path).namespace(ANN) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_secret_is_replaced_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = open_visibility("user", tmp_path).namespace(ANN)
    (tmp_path / "secret").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        after = open_visibility("user", tmp_path).namespace(ANN)
    assert "damaged" in caplog.text
    assert after != before
    assert open_visibility("user", tmp_path).namespace(ANN) == after
