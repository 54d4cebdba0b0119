"""What the cache gets out of a day's requests: possible hits, false hits, bytes, time saved.

    python -m tests.benchmarks.bench_trace --data DIR [--quick] [--json]

The trace and its re-ask model are those of `trace.py`. A *possible* hit is a repeat, changed or
not; a *false* hit serves the answer of another row. Next to ours: the recipe of `recipe.py` over
a dictionary without bound, and `gr.cache` around a function of a PIL picture and a text, as
Gradio hands them to it (its own limit of 128 entries, and without a limit). Those two keep their
answers in a dictionary, ours also on disk.

With the demo model the same model of repeats runs over drawn scenes, each request once through
the cache and once past it, so that hits are also compared with what the model says. A third of
the requests is new, so no cache can bring the mean of all below a third: the goal of a tenth is
that of the repeats.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from cache_store.cache import open_cache
from cache_store.types import Answer, CacheQuery, FinishReason, ImagePart, TextPart, Turn
from qwen_ui.events import TextDelta
from qwen_ui.runs import Replay
from tests.benchmarks import recipe, trace_model
from tests.benchmarks.reporting import Goal, arguments, conclude, machine, table
from tests.benchmarks.trace import (
    KINDS,
    Asked,
    Pictures,
    make_trace,
    parts_of_photos,
    read_rows,
)
from tests.service import Chat, ScriptedSource

MODEL = "scripted"
_DAY = 500_000  # answers
_BUDGET = 2**30  # bytes

Ask = Callable[[Asked], int | None]  # the row whose answer is served; None: the model is asked


def main() -> int:
    options = arguments("what the cache gets out of a day's requests")
    print("machine:", machine())
    if options.data is None:
        print("skipped: there are no questions; name their folder by --data")
        return 0
    trace = _trace(Path(options.data), 200 if options.quick else 4000)
    kinds = Counter(asked.kind for asked in trace)
    print(f"{len(trace)} requests:", ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    compared = _compare(trace)
    print(table(compared))
    lengths, count = ((400,), 500) if options.quick else ((3, 400, 1600), 5000)
    kept = [_bytes_kept(chars, count) for chars in lengths]
    print()
    print(table(kept))
    timed = trace_model.measure(20 if options.quick else 300)
    return conclude(
        _goals(compared[0], kept, timed), options.json, hits=compared, bytes=kept, demo=timed
    )


def _goals(
    ours: dict[str, Any], kept: Sequence[dict[str, Any]], timed: dict[str, float] | None
) -> list[Goal]:
    average = next(row for row in kept if row["characters"] == 400)
    goals = [
        Goal("possible hits that we get, percent", ours["of possible, %"], 99, "%", True),
        Goal("false hits", ours["false"], 1, ""),
        Goal("a day of 500,000 answers of 400 characters", average["day, GiB"], 1, "GiB"),
    ]
    if timed is not None:
        goals += [
            Goal("hit rate with the demo model, percent", timed["hit rate, %"], 60, "%", True),
            Goal("hits that differ from what the model says", timed["hits that differ"], 1, ""),
            Goal("mean time of a repeat over without the cache", timed["repeats: ratio"], 0.1, "x"),
        ]
    return goals


def _trace(data: Path, length: int) -> list[Asked]:
    rows = read_rows(data, length)
    return list(make_trace(rows, Pictures(parts_of_photos(data)), length))


# --- hits and false hits -------------------------------------------------------------------------


def _compare(trace: Sequence[Asked]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        chat = Chat(Path(folder), ScriptedSource())
        ours = _score("ours", trace, lambda asked: _ask_ours(chat, asked))
        asyncio.run(chat.close())
    return [
        ours,
        _score("recipe", trace, _recipe()),
        _score("gr.cache, 128 entries", trace, _gradio(128)),
        _score("gr.cache, no limit", trace, _gradio(0)),
    ]


def _score(name: str, trace: Sequence[Asked], ask: Ask) -> dict[str, Any]:
    right, false, seconds = Counter[str](), 0, 0.0
    possible = Counter(asked.kind for asked in trace)
    for asked in trace:
        began = time.perf_counter()
        served = ask(asked)
        seconds += time.perf_counter() - began
        if served == asked.row:
            right[asked.kind] += 1
        elif served is not None:
            false += 1
    repeats = sum(possible[kind] for kind in KINDS)
    return {
        "cache": name,
        **{f"{kind}, %": 100 * right[kind] / max(1, possible[kind]) for kind in KINDS},
        "of possible, %": 100 * right.total() / repeats,
        "hit rate, %": 100 * right.total() / len(trace),
        "false": false,
        "ms a request": seconds / len(trace) * 1000,
    }


def _ask_ours(chat: Chat, asked: Asked) -> int | None:
    picture = chat.service.open_picture(asked.data).image
    found = chat.service.lookup(chat.request(picture, asked.question))
    if isinstance(found, Replay):
        return int("".join(e.text for e in found.events if isinstance(e, TextDelta)))
    chat.cache.store(found.query, _answer(str(asked.row)))
    return None


def _recipe() -> Ask:
    kept: dict[str, int] = {}

    def ask(asked: Asked) -> int | None:
        key = recipe.key(MODEL, asked.data, asked.question)
        if key in kept:
            return kept[key]
        kept[key] = asked.row
        return None

    return ask


def _gradio(max_size: int) -> Ask:
    computed: list[int] = []

    @gr.cache(max_size=max_size)  # type: ignore[untyped-decorator]
    def answer(picture: Image.Image, question: str) -> int:
        computed.append(current[0])
        return current[0]

    current = [0]

    def ask(asked: Asked) -> int | None:
        with Image.open(io.BytesIO(asked.data)) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")  # as gr.Image(type="pil")
        current[0] = asked.row
        before = len(computed)
        served = int(answer(picture, asked.question))
        return served if len(computed) == before else None

    return ask


def _answer(text: str) -> Answer:
    return Answer(text, "", FinishReason.STOP, 300, 100, 0.3, 3.0, 2.9)


# --- bytes ---------------------------------------------------------------------------------------


def _bytes_kept(chars: int, count: int) -> dict[str, Any]:
    """What entries take on disk after closing: the database and the files of large values. The log
    that SQLite writes first is apart, since it does not grow with the entries."""
    words = Random(chars)
    with tempfile.TemporaryDirectory() as folder:
        cache = open_cache(Path(folder))
        for number in range(count):
            query = CacheQuery(
                model="Qwen/Qwen3-VL-4B-Instruct",
                fingerprint="f" * 64,
                turns=(_question(number),),
                sampling={"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0},
                max_tokens=2048,
            )
            cache.store(query, _answer(_prose(chars, words)))
            if number % 100 == 0:
                cache.stats()  # waits for what is written behind
        cache.close()
        files = [file for file in (Path(folder) / "answers").rglob("*") if file.is_file()]
        sizes = {file.name: file.stat().st_size for file in files}
        log = sum(sizes.pop(name, 0) for name in ("cache.db-wal", "cache.db-shm"))
        size = sum(sizes.values())
        reopened = open_cache(Path(folder))
        entries = reopened.stats().entries
        reopened.close()
    return {
        "characters": chars,
        "entries": entries,
        "bytes an entry": size / entries,
        "MB per 100,000": size / entries * 100_000 / 1e6,
        "day, GiB": size / entries * _DAY / _BUDGET,
        "log, MiB": log / 2**20,
    }


def _question(number: int) -> Turn:
    digest = f"{number:064x}"
    return Turn("user", (ImagePart(digest), TextPart(f"What is number {number} in the picture?")))


def _prose(chars: int, chance: Random) -> str:
    """The words of this file in random order: compresses a little worse than prose."""
    said = ""
    while len(said) < chars:
        said += chance.choice(_WORDS) + " "
    return said[:chars]


_WORDS = sorted(set(Path(__file__).read_text(encoding="utf-8").split()))


if __name__ == "__main__":
    raise SystemExit(main())
