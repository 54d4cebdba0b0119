"""The file of those who may use the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen_ui.logins import BadLogins, read_logins


def test_each_line_is_a_name_and_a_password_that_may_hold_colons(tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("anna:secret\n\n 李雷 : a:b c \r\n", encoding="utf-8")
    assert read_logins(file) == [("anna", "secret"), ("李雷", " a:b c ")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nobody"),
        ("\n \n", "names nobody"),
        ("anna:one\nben\n", "line 2 of .* is not NAME:PASSWORD"),
        ("anna:\n", "line 1 of .* is not NAME:PASSWORD"),
        (" :one\n", "line 1 of .* is not NAME:PASSWORD"),
        ("anna:one\nanna :two\n", "line 2 of .* names anna once more"),
    ],
)
def test_a_file_that_lets_in_nobody_or_says_two_things_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "logins"
    file.write_text(text)
    with pytest.raises(BadLogins, match=said):
        read_logins(file)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe:")
    for name in ("missing", "binary"):
        with pytest.raises(BadLogins, match="cannot be read"):
            read_logins(tmp_path / name)
