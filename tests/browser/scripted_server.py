"""The program with a scripted model, in a process of its own that a test may kill.

Lines on standard input command the model: a number lets so many tokens pass, `all` the rest.
"""

from __future__ import annotations

import sys
import threading
import time

import app
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.settings import read_settings
from tests.service import ScriptedSource


def main() -> None:
    settings = read_settings(sys.argv[1:])
    source = ScriptedSource(held=True)
    threading.Thread(target=obey, args=[source], daemon=True).start()
    app.serve(settings, EngineRegistry([source]))


def obey(source: ScriptedSource) -> None:
    for line in sys.stdin:
        while not source.engines:
            time.sleep(0.01)
        source.engine.release(None if line.strip() == "all" else int(line))


if __name__ == "__main__":
    main()
