"""Suggestions: what is offered on labelled pairs, and what they cost a miss.

    python -m tests.benchmarks.bench_similar --data DIR [--quick] [--json]

`a` was answered, `b` is asked of the same picture. Pairs of another meaning are those of
`must_not_hit`; pairs of one meaning are those of `paraphrases.py`. *Near* is what SimHash alone
would offer, *suggested* what the guards leave of it, *encoder* the same where an encoder proposes
too (the extra `similar`; left out where it is not installed).
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from cache_store import encoder
from cache_store.cache import ResponseCache, open_cache
from cache_store.guards import is_another_question, read
from cache_store.questions import canonical
from cache_store.signatures import Known, Scope, signature
from cache_store.similar import Near, SimilarQuestions
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
    results["crowd"] = in_a_crowd(texts(folder))
    print("\nof the paraphrases, in a scope with other questions\n")
    print(table(results["crowd"]))
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
    plain, encoded = cache_with(lambda: None), cache_with(encoder.load)
    count: dict[str, Counter[str]] = {}
    for number, pair in enumerate(pairs):
        one, other = canonical(pair["a"]), canonical(pair["b"])
        picture = ImagePart(f"{number:064}")
        found, wider = (asked_beside(cache, picture, one, other) for cache in (plain, encoded))
        for kind in (pair["kind"], "all"):
            seen = count.setdefault(kind, Counter())
            seen["pairs"] += 1
            seen["hits"] += isinstance(found, Hit)
            seen["near"] += is_near(one, other)
            seen["suggested"] += isinstance(found, Miss) and bool(found.similar)
            seen["encoder"] += isinstance(wider, Miss) and bool(wider.similar)
    plain.close()
    encoded.close()
    count["all"] = count.pop("all")  # last
    return [
        {"kind": kind} | {name: seen[name] for name in ("pairs", "hits", "near", "suggested")}
        | {"suggested, %": 100 * seen["suggested"] / seen["pairs"]}
        | ({"encoder": seen["encoder"]} if encoder.load() else {})
        for kind, seen in count.items()
    ]  # fmt: skip


def cache_with(load: Callable[[], encoder.Encoder | None]) -> ResponseCache:
    cache = open_cache(None)
    cache._similar.close()
    cache._similar = SimilarQuestions(cache._store, load)
    return cache


def asked_beside(cache: ResponseCache, picture: ImagePart, one: str, other: str) -> Hit | Miss:
    cache.store(asked(picture, one), ANSWER)
    cache._similar.settle()
    return cache.lookup(asked(picture, other))


def in_a_crowd(kept: list[str]) -> Rows:
    """How many paraphrases are offered, and how many first, where the scope has other questions."""
    pairs = [(pair["a"], pair["b"]) for pair in paraphrases()]
    rows: Rows = []
    for size in (0, 100, len(kept)):
        row: dict[str, Any] = {"other questions": size}
        for name, load in (("SimHash", lambda: None), ("encoder", encoder.load)):
            if load() is None and name == "encoder":
                continue
            scope, encode = Scope(), load()
            for text in kept[:size]:
                scope.add(Known(text, text, 0.0, 0.0), signature(text), encode and encode(text))
            row |= {f"{name}, {key}": count for key, count in crowd(scope, pairs, encode).items()}
        rows.append(row)
    return rows


def crowd(
    scope: Scope, pairs: list[tuple[str, str]], encode: encoder.Encoder | None
) -> dict[str, int]:
    counts = Counter(dict.fromkeys(("offered", "first", "others"), 0))
    for kept, asking in pairs:
        # one place, written over, so that each pair is alone with the others
        scope.add(Known("", kept, 1.0, 0.0), signature(kept), encode and encode(kept))
        found = [
            known.question
            for known in scope.nearest(signature(asking), encode and encode(asking))
            if not is_another_question(read(asking), read(known.question))
        ][:3]
        counts["offered"] += kept in found
        counts["first"] += found[:1] == [kept]
        counts["others"] += sum(text != kept for text in found)
    return dict(counts)


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
        cache = cache_with(encoder.load)
        cache._similar._have_encoder()
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
    near, encode = cache._similar.near, cache._similar._encoder
    ways: list[tuple[str, Callable[..., Near], encoder.Encoder | None]]
    ways = [("without", lambda *_: Near(), None), ("with", near, None)]
    if encode is not None:
        ways.append(("encoder", near, encode))
    times: dict[str, list[float]] = {name: [] for name, *_ in ways}
    for text in asking:
        query = asked(picture, text)
        ways.append(ways.pop(0))  # whichever comes later finds everything warm
        for name, use, encoding in ways:
            cache._similar.near = use  # type: ignore[method-assign]
            cache._similar._encoder = encoding
            began = time.thread_time_ns()
            cache.lookup(query)
            times[name].append((time.thread_time_ns() - began) / 1000)
    plain, extra = sorted(times["without"]), sorted(times["with"])
    middle, most = len(asking) // 2, int(0.95 * len(asking))
    added = extra[middle] - plain[middle]
    return {"without": plain[middle], "with": extra[middle], "p95": extra[most], "added": added} | (
        {"added, encoder": sorted(times["encoder"])[middle] - plain[middle]} if encode else {}
    )


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
