"""The ways to an answer about a picture, and what each takes: for bench_prefix and bench_gpu.

plain       `generate()` of transformers, processor included
cold        our engine, which never saw the picture
features    the picture was encoded, in another conversation
prefix      another question about the picture was asked
prepared    the picture was dropped before the question came
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from transformers.generation.streamers import BaseStreamer

from qwen_ui.engines.base import GenerationRequest, Sampling
from qwen_ui.engines.kv import Segment
from qwen_ui.engines.prefix_cache import PrefixCache
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.types import Image, Message
from tests.engines.tiny import Heard, picture

TOKENS = 128  # of every answer
ASKED = "Describe this picture in a sentence."
ASKED_BEFORE = "Which colours do you see here?"
WAYS = ("plain", "cold", "features", "prefix", "prepared")
HEADS = (
    "picture",
    "turns",
    *(f"{way}: first" for way in WAYS),
    *(f"{way}: whole" for way in WAYS),
    "plain: tokens/s",
    "ours: tokens/s",
)

Taken = tuple[float, float]  # seconds to the first token, and to the last one


@dataclass(frozen=True, slots=True)
class Ways:
    """An engine and the clock that its work is measured by."""

    engine: TransformersEngine
    clock: Callable[[], float]

    def row(self, edge: int, turns: int, rounds: int) -> dict[str, Any]:
        """Medians, and medians of the rounds' ratios. All ways take turns, so that what slows one
        round slows all of them."""
        taken: dict[str, list[Taken]] = {way: [] for way in WAYS}
        for number in range(rounds):
            image = picture(number, (edge, edge))
            taken["plain"].append(self.plain(asked(image, turns)))
            self.engine.forget()
            taken["cold"].append(self.ours(asked(image, turns)))
            self.forget_prefixes()
            taken["features"].append(self.ours(asked(image, turns)))
            self.forget_prefixes()
            self.ours(asked(image, turns, ASKED_BEFORE), tokens=1)
            taken["prefix"].append(self.ours(asked(image, turns)))
            self.engine.forget()
            self._prepare(asked(image, turns))
            taken["prepared"].append(self.ours(asked(image, turns)))
        return {"picture": edge, "turns": turns} | _row(taken)

    def plain(self, messages: Sequence[Message]) -> Taken:
        watch, began = _Watch(self.clock), self.clock()
        model = self.engine._machine.model
        inputs = self.engine._machine.processor.apply_chat_template(
            [{"role": message.role, "content": _content(message)} for message in messages],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        model.generate(
            **inputs.to(model.device),
            max_new_tokens=TOKENS,
            do_sample=False,
            suppress_tokens=self.engine._suppressed,
            streamer=watch,
        )
        model.model.rope_deltas = None
        assert len(watch.times) == TOKENS + 1
        return watch.times[1] - began, watch.times[-1] - began

    def ours(self, messages: Sequence[Message], tokens: int = TOKENS) -> Taken:
        heard, times, original = Heard(), list[float](), self.engine._tokens

        def noted(*args: Any) -> Iterator[Any]:
            for token in original(*args):
                times.append(self.clock())
                yield token

        began = self.clock()
        with patch.object(self.engine, "_tokens", noted):
            self.engine.submit(GenerationRequest(tuple(messages), Sampling(), tokens), heard)
            assert heard.ended.wait(600)
        assert len(times) == tokens
        return times[0] - began, times[-1] - began

    def _prepare(self, messages: Sequence[Message]) -> None:
        heard = Heard()
        self.engine.submit(GenerationRequest(tuple(messages), Sampling(), 0), heard)
        assert heard.ended.wait(600)

    def forget_prefixes(self) -> None:
        budgets = self.engine._budgets
        none = PrefixCache[Segment](budgets.prefixes, budgets.device_prefixes)
        self.engine._known = replace(self.engine._known, prefixes=none)


def never_ends(engine: TransformersEngine) -> None:
    """Random weights may end an answer at any token."""
    engine._end_ids = frozenset()
    engine._machine.model.generation_config.eos_token_id = None


def asked(image: Image, turns: int = 1, question: str = ASKED) -> tuple[Message, ...]:
    """A question about a picture, as the first one or as the second one."""
    if turns == 1:
        return (Message("user", (image, question)),)
    first = Message("user", (image, "What is this?"))
    said = Message("assistant", ("A picture of noise. " * 5,))
    return first, said, Message("user", (question,))


class _Watch(BaseStreamer):  # type: ignore[misc]
    """When `generate()` put out its prompt, its first token, and so on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.times: list[float] = []

    def put(self, value: object) -> None:
        self.times.append(self._clock())

    def end(self) -> None:
        pass


def _content(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part.load()}
        for part in message.parts
    ]


def _row(taken: Mapping[str, Sequence[Taken]]) -> dict[str, float]:
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
