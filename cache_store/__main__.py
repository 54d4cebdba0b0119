"""Look after a cache from the command line: `python -m cache_store --help`."""

from __future__ import annotations

import argparse
import sys

from cache_store.command_line import COMMANDS
from cache_store.commands import Trouble
from cache_store.errors import CacheStoreError

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
    except (CacheStoreError, Trouble, OSError) as error:
        print(f"python -m cache_store: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
