"""Look after a cache from the command line: `python -m cache_store --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import NoReturn

from cache_store.command_line import COMMANDS
from cache_store.errors import CacheStoreError, StoreUnavailable

_EPILOG = """\
CACHE is the directory of a cache (of the chat: its --cache-dir, by default ~/.cache/qwen-ui) or
the URL of a shared one (redis://HOST:PORT/DB). A server may be running on it meanwhile.

exit status: 0 all is well, 1 something was refused or is damaged, 2 it could not be done
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m cache_store",
        description="Export, import, verify, count and forget the answers of a cache.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (explain, configure, run) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=explain.splitlines()[0],
            description=explain,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        configure(command)
        command.set_defaults(run=run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except StoreUnavailable as error:
        return _failed(f"the store cannot be used, so not all was done: {error}")
    except (CacheStoreError, OSError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("interrupted, so not all was done", 130)


def _failed(why: str, status: int = 2) -> int:
    print(f"python -m cache_store: {why}", file=sys.stderr)
    return status


def _end(*_: object) -> NoReturn:
    """On SIGTERM as on an error: half an archive is removed."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    raise SystemExit(main())
