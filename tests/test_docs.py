"""What the documents say of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qwen_ui.settings import Settings

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh.md")


def settings_rows() -> list[tuple[str, str, str]]:
    """(environment variable, flag, default) of every setting."""
    return [
        (f"QWEN_UI_{name.upper()}", f"--{name.replace('_', '-')}", str(field.default or ""))
        for name, field in Settings.model_fields.items()
    ]


@pytest.mark.parametrize("readme", READMES)
def test_the_settings_table_lists_every_setting_with_its_default(readme: str) -> None:
    text = (ROOT / readme).read_text()
    listed = re.findall(r"^\| `(QWEN_UI_\w+)` \| `(--[\w-]+)` \| (?:`([^`]*)`)? \|", text, re.M)
    assert listed == settings_rows()


def test_the_english_table_repeats_the_help() -> None:
    text = (ROOT / "README.md").read_text()
    for field in Settings.model_fields.values():
        assert str(field.description) in text


@pytest.mark.parametrize("readme", READMES)
def test_the_tree_names_only_what_is_there(readme: str) -> None:
    block = re.search(r"```text\n(.*?)```", (ROOT / readme).read_text(), re.S)
    assert block
    folder, missing = Path(), []
    for line in block[1].splitlines():
        name = line.split()[0] if line.split() else ""
        if not line.startswith("  "):
            folder = Path(name)
            path = folder
        else:
            path = folder / name
        if not (ROOT / path).exists():
            missing.append(str(path))
    assert not missing


@pytest.mark.parametrize("readme", READMES)
def test_links_inside_the_repository_lead_somewhere(readme: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / readme).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_space_runs_the_tested_gradio() -> None:
    front = (ROOT / "README.md").read_text().split("---")[1]
    version = re.search(r"sdk_version: (\S+)", front)
    assert version
    assert f"gradio=={version[1]}\n" in (ROOT / "constraints.txt").read_text()


def test_every_requirement_says_why_it_is_there() -> None:
    for file in ("requirements.txt", "requirements-test.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                assert re.search(r"\s# \w+", line), line
