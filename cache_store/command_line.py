"""What `python -m cache_store` takes: each command is its help, its options and its work."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from cache_store import commands

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 90s, 30m, 12h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def _of_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cache", metavar="CACHE", help="directory or URL of a cache")


def _export_options(parser: argparse.ArgumentParser) -> None:
    _of_cache(parser)
    parser.add_argument("archive", metavar="ARCHIVE", help="file to write; -: standard output")
    parser.add_argument("--model", help="only the answers of this model")


def _import_options(parser: argparse.ArgumentParser) -> None:
    _of_cache(parser)
    parser.add_argument("archive", metavar="ARCHIVE", help="file to read; -: standard input")


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="CACHE|ARCHIVE", help="a cache, or an archive; -: standard input"
    )


def _stats_options(parser: argparse.ArgumentParser) -> None:
    _of_cache(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object, the series too")


def _fingerprint(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no fingerprint of 64 hexadecimal digits")
    return text


def _stale_options(parser: argparse.ArgumentParser) -> None:
    _of_cache(parser)
    parser.add_argument("--model", required=True, help="the readable name, as the picker shows it")
    parser.add_argument(
        "--fingerprint",
        required=True,
        type=_fingerprint,
        metavar="HEX",
        help="of the build that is to come: 64 hexadecimal digits",
    )


def _forget_options(parser: argparse.ArgumentParser) -> None:
    _of_cache(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--entry", metavar="KEY", help="the answer with this key")
    what.add_argument(
        "--picture", metavar="FILE|DIGEST", help="every answer about this picture, in any turn"
    )
    what.add_argument("--model", help="every answer of this model")
    what.add_argument(
        "--scope",
        metavar="KEY|DIGEST",
        help="every answer that differs from this one in its last question only",
    )
    what.add_argument(
        "--older-than",
        type=_duration,
        metavar="AGE",
        help="every answer stored longer ago: 90s, 30m, 12h, 7d",
    )
    what.add_argument("--all", action="store_true", help="every answer; statistics stay")


COMMANDS: dict[str, Command] = {
    "export": (
        "Write the answers into one archive.\n\nThe same answers give the same bytes. "
        "The archive is readable by its owner alone.",
        _export_options,
        commands.export,
    ),
    "import": (
        "Take over the answers of an archive.\n\nEvery entry is verified; what does not verify is "
        "refused and named. Answers keep their age\nand their end; a newer answer to the same "
        "question stays. Checksums tell damage, not lies:\nimport from where you would also take "
        "answers.",
        _import_options,
        commands.import_,
    ),
    "verify": (
        "Check every entry of a cache or of an archive; changes nothing.",
        _verify_options,
        commands.verify,
    ),
    "stats": ("Print what the cache did and holds.", _stats_options, commands.stats),
    "stale": (
        "Count the answers of a model that another build of it would not find; changes nothing.\n\n"
        "They stay until their end: `forget --model` deletes them.",
        _stale_options,
        commands.stale,
    ),
    "forget": (
        "Delete answers, also from the memory of running servers.",
        _forget_options,
        commands.forget,
    ),
}
