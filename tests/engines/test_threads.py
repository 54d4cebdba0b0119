"""How torch's threads wait is decided before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

SAID = """
import os, sys
import qwen_ui.server
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


def said(**environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", SAID]
    found = subprocess.run(command, env=kept | environment, capture_output=True, check=True)
    return found.stdout.decode().split()


def test_they_sleep_unless_somebody_chose_otherwise() -> None:
    assert said() == ["PASSIVE", "False"]
    assert said(OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "False"]
