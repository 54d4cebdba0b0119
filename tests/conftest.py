"""Options and fixtures of the whole test set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Read by torch when it is imported, here and in processes that tests start. Threads of one process
# that wait for each other actively, beside another that does the same, take all there is.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run loops whole, not a tenth of them")
    parser.addoption(
        "--data",
        type=Path,
        default=os.environ.get("QWEN_UI_TEST_DATA"),
        help="folder of photos and questions to measure on (QWEN_UI_TEST_DATA)",
    )


def pytest_configure(config: pytest.Config) -> None:
    soak = config.getoption("--soak")
    hypothesis.settings.register_profile(
        "ours", deadline=None, database=None, max_examples=1000 if soak else 100
    )
    hypothesis.settings.load_profile("ours")


@pytest.fixture(scope="session", autouse=True)
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of Gradio's for each worker: a page that closes removes its uploads, which lie
    under the digest of their bytes, so also those of the same picture on another worker's page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(scope="session")
def repetitions(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """How often a loop runs: whole with --soak, else a tenth of it."""
    soak = bool(pytestconfig.getoption("--soak"))
    return lambda whole: whole if soak else max(1, whole // 10)


@pytest.fixture(scope="session")
def data_dir(pytestconfig: pytest.Config) -> Path:
    """The data folder; a test that asks for it is skipped where there is none."""
    folder = pytestconfig.getoption("--data")
    if folder is None or not Path(folder).is_dir():
        pytest.skip("no --data DIR, no QWEN_UI_TEST_DATA")
    return Path(folder)
