"""The library's own README and project file: its example runs, and it can be installed alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cache_store"
MODULES = {"pillow": "PIL", "pillow-heif": "pillow_heif"}  # distributions by another name


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def needed(folder: Path) -> set[str]:
    """What an install there brings, with every extra."""
    described = project(folder)["project"]
    lists = [described.get("dependencies", []), *described["optional-dependencies"].values()]
    return {line for listed in lists for line in listed}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_the_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    assert "assert" in blocks[0]
    done = subprocess.run([sys.executable, "-c", blocks[0]], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_alone_it_installs_all_of_itself_in_the_versions_of_the_whole() -> None:
    found = {path.parent.relative_to(ROOT) for path in PACKAGE.glob("**/__init__.py")}
    alone = project(PACKAGE)
    assert {".".join(path.parts) for path in found} == set(alone["tool"]["setuptools"]["packages"])
    assert alone["project"]["version"] == project(ROOT)["project"]["version"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert needed(PACKAGE) <= needed(ROOT) | {line.split("#")[0].strip() for line in lines}


def test_it_declares_what_it_imports() -> None:
    names = [re.split(r"[^\w-]", line)[0] for line in needed(PACKAGE)]
    known = {MODULES.get(name, name) for name in names} | {"cache_store"} | sys.stdlib_module_names
    assert {name for path in PACKAGE.glob("**/*.py") for name in imported(path)} <= known
