"""What reuse saves inside the model: time to the first token, and to a whole answer.

    python -m tests.benchmarks.bench_prefix [--quick] [--json]

A Qwen3-VL of random weights in float32 (19 million: vision 4 layers x 256, text 6 layers x 384):
large enough that arithmetic is what takes the time, small enough to wait for. Processor seconds of
one thread, which others on the machine change little; medians over rounds in which all sides take
their turn; every answer has 128 tokens.

    plain       `generate()` of transformers, processor included
    cold        our engine, which never saw the picture
    features    the picture was encoded, in another conversation
    prefix      another question about the picture was asked
    prepared    the picture was dropped before the question came
    tokens/s    while decoding, plain and ours
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers.generation.streamers import BaseStreamer

from qwen_ui.engines.base import GenerationRequest, Sampling
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.prefix_cache import PrefixCache
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.types import Image, Message
from tests.benchmarks.reporting import Goal, arguments, conclude, machine, table
from tests.engines.tiny import Heard, picture, save_tiny

TOKENS = 128
ASKED = "Describe this picture in a sentence."
ASKED_BEFORE = "Which colours do you see here?"
VISION = {
    "depth": 4,
    "hidden_size": 256,
    "num_heads": 4,
    "intermediate_size": 1024,
    "out_hidden_size": 384,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [1, 2],
}
TEXT = {
    "hidden_size": 384,
    "intermediate_size": 1152,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [12, 10, 10],
        "mrope_interleaved": True,
    },
}
WAYS = ("plain", "cold", "features", "prefix", "prepared")

Taken = tuple[float, float]  # processor seconds to the first token, and to the last one


def main() -> int:
    options = arguments("what reuse saves inside the model")
    print("machine:", machine())
    torch.set_num_threads(1)
    edges = (1024,) if options.quick else (256, 1024, 2048)
    with _engine() as engine:
        _plain(engine, _asked(_picture(256)))  # warms up
        rows = [_measured(engine, edge, turns=1, quick=options.quick) for edge in edges]
        if not options.quick:
            rows.append(_measured(engine, 1024, turns=2, quick=False))
    print(table([{k: v for k, v in row.items() if k in HEADS} for row in rows]))
    return conclude(_goals(rows), options.json, rows=rows)


HEADS = (
    "picture",
    "turns",
    *(f"{way}: first" for way in WAYS),
    *(f"{way}: whole" for way in WAYS),
    "plain: tokens/s",
    "ours: tokens/s",
)


def _goals(rows: list[dict[str, Any]]) -> list[Goal]:
    row = next(row for row in rows if row["picture"] == 1024 and row["turns"] == 1)
    return [
        Goal("first token, plain / prefix known", row["plain / prefix"], 20, "x", True),
        Goal("first token, plain / features known", row["plain / features"], 4, "x", True),
        Goal("whole answer, cold / plain", row["cold / plain"], 1.05, "x"),
        Goal("decoding, ours / plain", row["decoding, ours / plain"], 1, "x", True),
    ]


def _measured(engine: TransformersEngine, edge: int, turns: int, quick: bool) -> dict[str, Any]:
    """One row. All ways take turns, so that what slows one round slows all of them."""
    rounds = 1 if quick or edge > 1024 else 2
    taken: dict[str, list[Taken]] = {way: [] for way in WAYS}
    for number in range(rounds):
        image = _picture(edge, number)
        taken["plain"].append(_plain(engine, _asked(image, turns)))
        engine.forget()
        taken["cold"].append(_ours(engine, _asked(image, turns)))
        _forget_prefixes(engine)
        taken["features"].append(_ours(engine, _asked(image, turns)))
        _forget_prefixes(engine)
        _ours(engine, _asked(image, turns, ASKED_BEFORE), tokens=1)
        taken["prefix"].append(_ours(engine, _asked(image, turns)))
        engine.forget()
        _prepare(engine, _asked(image, turns))
        taken["prepared"].append(_ours(engine, _asked(image, turns)))
    return {"picture": edge, "turns": turns} | _row(taken)


def _row(taken: dict[str, list[Taken]]) -> dict[str, float]:
    def ratio(one: Callable[[int], float], other: Callable[[int], float]) -> float:
        return statistics.median(one(n) / other(n) for n in range(len(taken["plain"])))

    def first(way: str) -> Callable[[int], float]:
        return lambda n: taken[way][n][0]

    def whole(way: str) -> Callable[[int], float]:
        return lambda n: taken[way][n][1]

    def rate(way: str) -> Callable[[int], float]:
        return lambda n: (TOKENS - 1) / (taken[way][n][1] - taken[way][n][0])

    rounds = range(len(taken["plain"]))
    row = {f"{way}: first": statistics.median(map(first(way), rounds)) for way in WAYS}
    row |= {f"{way}: whole": statistics.median(map(whole(way), rounds)) for way in WAYS}
    return row | {
        "plain: tokens/s": statistics.median(map(rate("plain"), rounds)),
        "ours: tokens/s": statistics.median(map(rate("cold"), rounds)),
        "plain / prefix": ratio(first("plain"), first("prefix")),
        "plain / features": ratio(first("plain"), first("features")),
        "plain / prepared": ratio(first("plain"), first("prepared")),
        "cold / plain": ratio(whole("cold"), whole("plain")),
        "decoding, ours / plain": ratio(rate("cold"), rate("plain")),
    }


# --- the ways ----------------------------------------------------------------------------------


class _Clock(BaseStreamer):  # type: ignore[misc]
    """When `generate()` put out its prompt, its first token, and so on."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: object) -> None:
        self.times.append(time.process_time())

    def end(self) -> None:
        pass


def _plain(engine: TransformersEngine, messages: Sequence[Message]) -> Taken:
    clock, began = _Clock(), time.process_time()
    model = engine._machine.model
    inputs = engine._machine.processor.apply_chat_template(
        [{"role": message.role, "content": _content(message)} for message in messages],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    model.generate(
        **inputs,
        max_new_tokens=TOKENS,
        do_sample=False,
        suppress_tokens=engine._suppressed,
        streamer=clock,
    )
    model.model.rope_deltas = None
    assert len(clock.times) == TOKENS + 1
    return clock.times[1] - began, clock.times[-1] - began


def _content(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part.load()}
        for part in message.parts
    ]


def _ours(engine: TransformersEngine, messages: Sequence[Message], tokens: int = TOKENS) -> Taken:
    heard, times, original = Heard(), list[float](), engine._tokens

    def noted(*args: Any) -> Iterator[Any]:
        for token in original(*args):
            times.append(time.process_time())
            yield token

    began = time.process_time()
    with patch.object(engine, "_tokens", noted):
        engine.submit(GenerationRequest(tuple(messages), Sampling(), tokens), heard)
        assert heard.ended.wait(600)
    assert len(times) == tokens
    return times[0] - began, times[-1] - began


def _prepare(engine: TransformersEngine, messages: Sequence[Message]) -> None:
    heard = Heard()
    engine.submit(GenerationRequest(tuple(messages), Sampling(), 0), heard)
    assert heard.ended.wait(600)


def _forget_prefixes(engine: TransformersEngine) -> None:
    engine._known = replace(engine._known, prefixes=PrefixCache(2**30))


# --- what is asked -----------------------------------------------------------------------------


@contextmanager
def _engine() -> Iterator[TransformersEngine]:
    with tempfile.TemporaryDirectory() as name:
        folder = save_tiny(Path(name), vision=VISION, text=TEXT, max_pixels=2048 * 2048)
        spec = resolve_spec("random", folder, "r", Placement(device="cpu"), source=name)
        engine = load_engine(spec, folder, lambda fraction: None)
        engine._end_ids = frozenset()  # random weights may end an answer at any token
        engine._machine.model.generation_config.eos_token_id = None
        yield engine
        engine.close()


def _picture(edge: int, seed: int = 0) -> Image:
    return picture(seed, (edge, edge))


def _asked(image: Image, turns: int = 1, question: str = ASKED) -> tuple[Message, ...]:
    """A question about a picture, as the first one or as the second one."""
    if turns == 1:
        return (Message("user", (image, question)),)
    first = Message("user", (image, "What is this?"))
    said = Message("assistant", ("A picture of noise. " * 5,))
    return first, said, Message("user", (question,))


if __name__ == "__main__":
    raise SystemExit(main())
