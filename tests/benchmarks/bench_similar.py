"""Suggestions: what is offered on labelled pairs, and what they cost a miss.

    python -m tests.benchmarks.bench_similar --data DIR [--quick] [--json]

`a` was answered, `b` is asked of the same picture. Pairs of another meaning are those of
`must_not_hit`; pairs of one meaning are those of `paraphrases.py`. *Near* is what SimHash alone
would offer, *suggested* what the guards leave of it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from cache_store.cache import ResponseCache, open_cache
from cache_store.questions import canonical
from cache_store.signatures import Known, Scope, signature
from cache_store.similar import Near
from cache_store.types import Hit, ImagePart, Miss
from tests.benchmarks.paraphrases import PARAPHRASES
from tests.benchmarks.reporting import Goal, arguments, conclude, machine, table
from tests.cache_store.samples import ANSWER, asked

Rows = list[dict[str, Any]]
SIZES = (0, 1, 100, 10_000)


def main() -> int:
    args = arguments("What is suggested, and what it costs")
    if not args.data:
        print("no --data DIR, no QWEN_UI_TEST_DATA: nothing to measure on")
        return 0
    folder = args.data / "questions"
    print("machine:", machine())
    results: dict[str, Rows] = {
        "another meaning": offered(
            lines(folder / "must_not_hit.jsonl")[:: 10 if args.quick else 1]
        ),
        "one meaning": offered(paraphrases()),
    }
    for name, rows in results.items():
        print(f"\npairs of {name}\n")
        print(table(rows))
    results["cost"] = costs(texts(folder), 100 if args.quick else 1000)
    print("\na miss in a scope of so many questions, microseconds of CPU\n")
    print(table(results["cost"]))
    wrong = results["another meaning"][-1]
    goals = [
        Goal("added to a miss among 10,000 questions", results["cost"][-1]["added"], 5000, "us"),
        Goal("suggested of another meaning", wrong["suggested, %"], 1, "%"),
    ]
    return conclude(goals, args.json, **results)


def offered(pairs: Rows) -> Rows:
    """By kind, and all; each pair in a scope of its own."""
    cache = open_cache(None)
    count: dict[str, Counter[str]] = {}
    for number, pair in enumerate(pairs):
        one, other = canonical(pair["a"]), canonical(pair["b"])
        picture = ImagePart(f"{number:064}")
        cache.store(asked(picture, one), ANSWER)
        cache._similar.settle()
        found = cache.lookup(asked(picture, other))
        for kind in (pair["kind"], "all"):
            seen = count.setdefault(kind, Counter())
            seen["pairs"] += 1
            seen["hits"] += isinstance(found, Hit)
            seen["near"] += is_near(one, other)
            seen["suggested"] += isinstance(found, Miss) and bool(found.similar)
    cache.close()
    count["all"] = count.pop("all")  # last
    return [
        {"kind": kind} | {name: seen[name] for name in ("pairs", "hits", "near", "suggested")}
        | {"suggested, %": 100 * seen["suggested"] / seen["pairs"]}
        for kind, seen in count.items()
    ]  # fmt: skip


def is_near(one: str, other: str) -> bool:
    scope = Scope()
    scope.add(Known("", one, 0.0, 0.0), signature(one))
    return bool(scope.nearest(signature(other)))


def paraphrases() -> Rows:
    return [
        {"kind": language, "a": a, "b": b}
        for language, pairs in PARAPHRASES.items()
        for a, b in pairs
    ]


def costs(questions: list[str], rounds: int) -> Rows:
    """Misses with suggestions and without, in turns; what is asked is never what is kept."""
    asking, kept = questions[:rounds], questions[rounds:]
    rows: Rows = []
    for size in SIZES:
        cache = open_cache(None)
        picture = ImagePart(f"{size:064}")
        for number, text in enumerate(islice(numbered(kept), size)):
            cache.store(asked(picture, text), ANSWER)
            if number % 500 == 499:
                cache._similar.settle()
        cache._similar.settle()
        rows.append({"questions": size} | measured(cache, picture, asking))
        cache.close()
    return rows


def measured(cache: ResponseCache, picture: ImagePart, asking: list[str]) -> dict[str, float]:
    """CPU time of the asking thread: wall time says more of what else a busy machine does."""
    near = cache._similar.near
    times: dict[str, list[float]] = {"without": [], "with": []}
    ways = [("without", lambda *_: Near()), ("with", near)]
    for text in asking:
        query = asked(picture, text)
        ways.reverse()  # whichever comes second finds everything warm
        for name, use in ways:
            cache._similar.near = use  # type: ignore[method-assign]
            began = time.thread_time_ns()
            cache.lookup(query)
            times[name].append((time.thread_time_ns() - began) / 1000)
    plain, extra = (sorted(times[name]) for name in ("without", "with"))
    middle, most = len(asking) // 2, int(0.95 * len(asking))
    added = extra[middle] - plain[middle]
    return {"without": plain[middle], "with": extra[middle], "p95": extra[most], "added": added}


def lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(folder: Path) -> list[str]:
    """Different real questions."""
    names = ("vqa_amber", "vqa_pope_coco", "vqa_vsr_statements", "must_hit")
    rows = [row for name in names for row in lines(folder / f"{name}.jsonl")]
    return list(dict.fromkeys(canonical(row.get("question") or row["a"]) for row in rows))


def numbered(questions: list[str]) -> Iterator[str]:
    """Without end, and never the same twice."""
    for number, text in enumerate(cycle(questions)):
        yield text if number < len(questions) else f"{text} ({number})"


if __name__ == "__main__":
    sys.exit(main())
