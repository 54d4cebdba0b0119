"""Entry point, for `python app.py` and for a Space: settings -> server.launch."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from qwen_ui.settings import Settings, read_settings


def main() -> None:
    settings = read_settings(sys.argv[1:])
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(levelname)s  %(message)s", stream=sys.stderr
    )
    logging.getLogger("httpx").setLevel("WARNING")  # one line per request says nothing
    serve(settings)


def serve(settings: Settings) -> None:
    """Launch, and run until SIGINT or SIGTERM; then finish what is running and write it down."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # Gradio installs no handler for SIGTERM
        signal.signal(number, lambda *_: ended.set())

    from qwen_ui.server import launch  # torch and gradio: after --help and bad flags are done

    try:
        server = launch(settings)
    except OSError as error:
        sys.exit(f"cannot listen on port {settings.port}: {error}. Choose another with --port.")
    print(f"Qwen3-VL chat: {server.url}", flush=True)
    if server.share_url:
        print(f"shared as:     {server.share_url}", flush=True)
    ended.wait()
    print("stopping: running answers may finish", flush=True)
    server.close()


if __name__ == "__main__":
    main()
