"""Who may use the page: a file of names and passwords."""

from __future__ import annotations

from pathlib import Path


class BadLogins(Exception):
    """`str(error)` is one clear sentence."""


def read_logins(file: Path) -> list[tuple[str, str]]:
    """The (name, password) of each line NAME:PASSWORD; at least one. Raises BadLogins.

    A password may hold colons. Names are without white space around them, as Gradio compares them.
    """
    try:
        lines = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadLogins(f"{file} cannot be read: {error}") from error
    logins: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, password = line.partition(":")
        name = name.strip()
        if not name or not password:
            raise BadLogins(f"line {number} of {file} is not NAME:PASSWORD")
        if name in logins:
            raise BadLogins(f"line {number} of {file} names {name} once more")
        logins[name] = password
    if not logins:  # to Gradio an empty list means that everybody may come in
        raise BadLogins(f"{file} names nobody")
    return list(logins.items())
