"""Which questions share an answer: `python -m tests.benchmarks.bench_questions --data FOLDER`.

FOLDER holds must_hit.jsonl and must_not_hit.jsonl (rows `lang, kind, a, b`) and vqa_*.jsonl (rows
`image, question, answer`), or a folder `questions` with them. A pair counts as equal where a cache
with that rule would give `b` the answer that was stored for `a`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simhash import Simhash

from cache_store import ttl
from cache_store.questions import canonical, fold
from tests.benchmarks import encoder
from tests.benchmarks.reporting import Goal, arguments, conclude, table

_RELAXED = {"UPPER": 0.99, "lower": 0.99, "Title": 0.99, "inner space": 0.98, "contraction": 0.0}


@dataclass(frozen=True, slots=True)
class Pair:
    lang: str
    kind: str
    a: str
    b: str


Rule = Callable[[Sequence[Pair]], list[bool]]


def equal(form: Callable[[str], object]) -> Rule:
    """Pairs whose forms are equal."""
    return lambda pairs: [form(pair.a) == form(pair.b) for pair in pairs]


def recipe(text: str) -> int:
    """The question's part of the original recipe's key."""
    return int(Simhash(text.strip().lower().split()).value)


def within(distance: int) -> Rule:
    def near(pairs: Sequence[Pair]) -> list[bool]:
        return [(recipe(p.a) ^ recipe(p.b)).bit_count() <= distance for p in pairs]

    return near


def cosine(least: float) -> Rule | None:
    """None where no encoder is installed."""
    weights = encoder.folder()
    if weights is None:
        return None
    encode = encoder.Encoder(weights)

    def near(pairs: Sequence[Pair]) -> list[bool]:
        texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
        vectors, place = encode(texts), {text: i for i, text in enumerate(texts)}
        return [float(vectors[place[p.a]] @ vectors[place[p.b]]) >= least for p in pairs]

    return near


RULES: dict[str, Callable[[], Rule | None]] = {
    "exact": lambda: equal(canonical),
    "equivalent": lambda: equal(fold),
    "recipe": lambda: within(0),
    "SimHash <= 3": lambda: within(3),
    "encoder .95": lambda: cosine(0.95),
    "encoder .90": lambda: cosine(0.90),
}


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf8").splitlines()]


def pairs_of(file: Path) -> list[Pair]:
    return [Pair(row["lang"], row["kind"], row["a"], row["b"]) for row in read(file)]


def shares(pairs: Sequence[Pair], rules: dict[str, Rule]) -> list[dict[str, object]]:
    """One row a language and kind: per cent of the pairs that each rule makes equal."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        groups[pair.lang, pair.kind].append(i)
    verdicts = {name: rule(pairs) for name, rule in rules.items()}
    return [
        {"lang": lang, "kind": kind, "pairs": len(members)}
        | {
            name: 100 * sum(found[i] for i in members) / len(members)
            for name, found in verdicts.items()
        }
        for (lang, kind), members in groups.items()
    ]


def meetings(rows: Iterable[dict[str, Any]]) -> int:
    """How many questions of one picture fold together though their answers differ."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    count = 0
    for row in rows:
        first = seen.setdefault((row["image"], fold(row["question"])), row)
        count += first["question"] != row["question"] and first["answer"] != row["answer"]
    return count


def total(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Pairs that a rule makes equal, over all rows."""
    return float(sum(row[name] * row["pairs"] / 100 for row in rows))


def goals_of(hit: Sequence[dict[str, Any]], miss: Sequence[dict[str, Any]], met: int) -> list[Goal]:
    goals = [
        Goal("false hits, exact", total(miss, "exact"), 0.5, "pairs"),
        Goal("false hits, equivalent", total(miss, "equivalent"), 0.5, "pairs"),
        Goal("questions of one picture that meet wrongly", met, 0.5, "questions"),
    ]
    for row in hit:
        least = 100 * _RELAXED.get(row["kind"], 1.0)
        what = f"recall, {row['lang']} {row['kind']}"
        goals.append(Goal(what, row["equivalent"], least, "%", at_least=True))
    return goals


def fold_us(texts: Sequence[str]) -> float:
    began = time.perf_counter()
    for text in texts:
        fold(text)
    return (time.perf_counter() - began) / len(texts) * 1e6


def main() -> int:
    options = arguments(__doc__ or "")
    if options.data is None:
        print("skipped: there are no questions; name their folder by --data")
        return 0
    folder = options.data / "questions" if (options.data / "questions").is_dir() else options.data
    makers = {n: m for n, m in RULES.items() if not (options.quick and n.startswith("encoder"))}
    rules = {name: rule for name, make in makers.items() if (rule := make()) is not None}
    hit, miss = (
        shares(pairs_of(folder / name), rules) for name in ("must_hit.jsonl", "must_not_hit.jsonl")
    )
    asked = {file.stem: read(file) for file in sorted(folder.glob("vqa_*.jsonl"))}
    met = sum(meetings(rows) for rows in asked.values())
    texts = [row["question"] for rows in asked.values() for row in rows]
    now = 100 * sum(ttl.is_about_now(text) for text in texts) / len(texts)
    print("per cent of pairs that must meet\n" + table(hit))
    print("\nper cent of pairs that must not meet\n" + table(miss))
    counts = {name: total(miss, name) for name in rules}
    print("\nfalse hits: " + ", ".join(f"{name} {count:.0f}" for name, count in counts.items()))
    for name in RULES.keys() - rules.keys():
        why = "--quick" if options.quick else f"{encoder.PACKAGE} is not installed"
        print(f"left out: {name} ({why})")
    print(f"fold takes {fold_us(texts):.0f} µs a question; {now:.2f} % are about now (short TTL)")
    return conclude(
        goals_of(hit, miss, met), options.json, must_hit=hit, must_not_hit=miss, false_hits=counts
    )


if __name__ == "__main__":
    sys.exit(main())
