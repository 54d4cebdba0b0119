"""Entry point, for `python app.py` and for a Space: settings -> server.launch."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from qwen_ui.settings import Settings, read_settings

if TYPE_CHECKING:
    from qwen_ui.chat import ChatService
    from qwen_ui.engines.registry import EngineRegistry


def main() -> None:
    settings = read_settings(sys.argv[1:])
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(levelname)s  %(message)s", stream=sys.stderr
    )
    logging.getLogger("httpx").setLevel("WARNING")  # one line per request says nothing
    serve(settings)


def serve(settings: Settings, registry: EngineRegistry | None = None) -> None:
    """Launch, and run until SIGINT or SIGTERM; then finish what is running and write it down.

    Tests bring a registry of their own.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # Gradio installs no handler for SIGTERM
        signal.signal(number, lambda *_: ended.set())

    # torch and gradio only now: --help and bad flags need not wait for them
    from cache_store.errors import UnknownStore
    from qwen_ui.errors import ModelFailed
    from qwen_ui.logins import BadLogins
    from qwen_ui.server import build_service, launch

    try:
        service = build_service(settings, registry)
    except OSError as error:
        sys.exit(f"cannot write to {settings.directory}: {error}. Choose another with --cache-dir.")
    except UnknownStore as error:
        sys.exit(f"--cache-store (QWEN_UI_CACHE_STORE): {error}")
    except ModelFailed as error:
        sys.exit(f"--model, --models (QWEN_UI_MODEL, QWEN_UI_MODELS): {error}")
    if settings.dry_run:
        tell_stale(service)
        service.close()
        return
    try:
        server = launch(settings, service)
    except BadLogins as error:
        sys.exit(f"--logins (QWEN_UI_LOGINS): {error}")
    except OSError as error:
        sys.exit(f"cannot listen on port {settings.port}: {error}. Choose another with --port.")
    print(f"Qwen3-VL chat: {server.url}", flush=True)
    if server.share_url:
        print(f"shared as:     {server.share_url}", flush=True)
    ended.wait()
    print("stopping: running answers may finish", flush=True)
    server.close()
    logging.shutdown()
    sys.stdout.flush()
    # all is written; a model that is still loading is in native code, where a thread cannot end
    os._exit(0)


def tell_stale(service: ChatService) -> None:
    """An upgrade's dry run: what is stored for these models, and what they would still find."""
    from qwen_ui.errors import QwenUIError

    for model in service.models():
        try:
            found = service.stale(model.name)
        except QwenUIError as error:
            print(error)
        else:
            print(f"{model.name}: {found.stale} of {found.entries} stored answers become stale")


if __name__ == "__main__":
    main()
