"""Imports point down only: the tree in docs is the tree in code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("cache_store", "qwen_ui")
    for path in ROOT.glob(f"{folder}/**/*.py")
)
PAGES = ("qwen_ui.ui", "qwen_ui.api", "qwen_ui.server")
ABOVE = (
    *("qwen_ui.chat", "qwen_ui.canonical", "qwen_ui.computation", "qwen_ui.reader"),
    *("qwen_ui.runs", "qwen_ui.audits", "qwen_ui.question"),
    *("qwen_ui.visibility", "qwen_ui.images", "qwen_ui.videos", "qwen_ui.video_frames"),
    *("qwen_ui.uploads", "qwen_ui.video_file", "qwen_ui.frame_times", "qwen_ui.media", *PAGES),
)
KNOW_THE_CACHE = {
    *("chat.py", "canonical.py", "computation.py", "reader.py", "runs.py", "audits.py"),
    *("images.py", "server.py", "types.py", "videos.py", "video_frames.py"),
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or in a function, as a dotted name."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def forbidden(path: Path) -> tuple[str, ...]:
    """Packages that a file must not know."""
    parts = path.parts
    if parts[0] == "cache_store":
        return ("qwen_ui", "gradio", "torch", "transformers", "fastapi", "starlette")
    match parts[1]:
        case "engines":
            return ("cache_store", "gradio", "fastapi", "starlette", *ABOVE)
        case "ui":
            return ("cache_store", "torch", "transformers", "qwen_ui.engines", "qwen_ui.api")
        case "api":
            return ("cache_store", "gradio", "torch", "qwen_ui.engines", "qwen_ui.ui")
        case "demo_model":
            return ("cache_store", "gradio", *ABOVE)
        case "server.py":
            return ()
        case "types.py" | "events.py" | "errors.py" | "remote_errors.py" | "settings.py":
            return ("gradio", "torch", "transformers", "qwen_ui.engines", *ABOVE)
        case "chat.py":
            return ("gradio", "torch", "transformers", "fastapi", "starlette", *PAGES)
        case _:  # computation, runs, visibility, images, videos, media
            return ("gradio", "torch", "transformers", "qwen_ui.chat", *PAGES)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    wrong = [m for m in imported(path) for package in forbidden(path) if within(m, package)]
    assert wrong == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "qwen_ui"], ids=str)
def test_only_the_service_and_what_serves_it_know_the_cache(path: Path) -> None:
    if len(path.parts) == 2 and path.name in KNOW_THE_CACHE:
        return
    assert [module for module in imported(path) if within(module, "cache_store")] == []


def test_the_values_of_the_page_come_from_the_cache_as_types_only() -> None:
    taken = {m for m in imported(Path("qwen_ui/types.py")) if within(m, "cache_store")}
    assert all(within(module, "cache_store.types") for module in taken)


def test_the_values_import_nothing_of_ours() -> None:
    for name in ("cache_store/types.py", "cache_store/errors.py", "qwen_ui/errors.py"):
        ours = [m for m in imported(Path(name)) if m.startswith(("qwen_ui", "cache_store"))]
        assert ours == []


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_cache_is_imported_without_a_store_or_a_model() -> None:
    loaded = loaded_by("import cache_store.cache\ncache_store.cache.open_cache(None).close()")
    assert loaded.isdisjoint({"diskcache", "redis", "gradio", "torch", "transformers", "qwen_ui"})
    assert "diskcache" in loaded_by("import cache_store.stores.disk")


def test_the_service_is_imported_without_a_page_or_a_model() -> None:
    loaded = loaded_by("import qwen_ui.chat, qwen_ui.engines.scripted")
    assert loaded.isdisjoint({"diskcache", "gradio", "torch", "transformers"})


def test_the_page_is_imported_without_a_model() -> None:
    loaded = loaded_by("import qwen_ui.server")
    assert "gradio" in loaded
    assert loaded.isdisjoint({"torch", "transformers"})


def test_the_parser_of_these_tests_sees_imports_inside_functions() -> None:
    found = set(imported(Path("cache_store/stores/opening.py")))
    assert "cache_store.stores.disk.DiskStore" in found
    assert len(MODULES) > 25
