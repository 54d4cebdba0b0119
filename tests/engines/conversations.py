"""Conversations about pictures, and what an engine computes for them, bit by bit.

A short `CHUNK` makes small pictures and prompts cross several cuts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from qwen_ui.engines.base import GenerationRequest, Job, Sampling
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.prefill import Filled
from qwen_ui.engines.sampler import Sampler
from qwen_ui.engines.transformers import Budgets, TransformersEngine
from qwen_ui.types import Message
from tests.engines.tiny import picture

CHUNK = 7
TOKENS = 10


def open_engine(
    folder: Path,
    dtype: str,
    chunk: int = CHUNK,
    budgets: Budgets = Budgets(),
    device: str = "cpu",
    decoding: str = "auto",
) -> TransformersEngine:
    placement = Placement(device=device, dtype=dtype, decoding=decoding)
    spec = resolve_spec("model", folder, "r", placement, source=str(folder))
    spec = replace(spec, chunk_tokens=chunk)
    return load_engine(spec, folder, lambda fraction: None, budgets=budgets)


def user(*parts: object) -> Message:
    return Message("user", parts)  # type: ignore[arg-type]


def says(text: str) -> Message:
    return Message("assistant", (text,))


A, B = picture(1), picture(2)  # of one size
WIDE = picture(3, (128, 64))
CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "text": (user("Hello, how are you?"),),
    "one picture": (user(A, "What is this?"),),
    "another picture of the same size": (user(B, "What is this?"),),
    "another question": (user(A, "Which colour has it?"),),
    "two pictures": (user(A, WIDE, "Do they differ?"),),
    "the other order": (user(WIDE, A, "Do they differ?"),),
    "one picture twice": (user(A, "and", A, "Same?"),),
    "behind a system prompt": (Message("system", ("Be brief.",)), user(A, "What is this?")),
    "behind words": (user("Look at this:", A),),
    "ends in a picture": (user("Compare", A, B),),
    "two turns": (user(A, "What is this?"), says("A disc."), user("Which colour has it?")),
    "three turns": (
        user(A, "What is this?"),
        says("A disc."),
        user("Which colour has it?"),
        says("Red."),
        user(B, "And this?"),
    ),
}


@dataclass
class Answer:
    """What a run computed, end or no end."""

    ids: list[int]
    logits: torch.Tensor  # [tokens, vocabulary]
    filled: Filled

    def __eq__(self, other: object) -> bool:
        """Bit by bit."""
        assert isinstance(other, Answer)
        return self.ids == other.ids and torch.equal(self.logits, other.logits)


@torch.inference_mode()
def answered(engine: TransformersEngine, messages: Sequence[Message], sharing: str = "") -> Answer:
    """By the engine's own path, on this thread (the engine's has nothing to do meanwhile)."""
    asked = GenerationRequest(tuple(messages), Sampling(), TOKENS, sharing=sharing)
    job = Job(asked, lambda event: None)
    prompt = engine._prompt(job)
    filled = engine._prefill(prompt, job).run()
    tokens = engine._tokens(filled, prompt, Sampler(Sampling(), engine._suppressed), job)
    ids, logits = zip(*islice(tokens, TOKENS), strict=True)
    return Answer(list(ids), torch.stack(logits), filled)


def cold(engine: TransformersEngine, messages: Sequence[Message]) -> Answer:
    engine.forget()
    found = answered(engine, messages)
    assert found.filled.cached_tokens == 0
    return found


def by(engine: TransformersEngine, decoder: object, messages: tuple[Message, ...]) -> Answer:
    usual, engine._decoder = engine._decoder, decoder  # type: ignore[assignment]
    try:
        return answered(engine, messages)
    finally:
        engine._decoder = usual


Answers = dict[str, Answer]


def nothing_changes(
    engine: TransformersEngine,
    firsts: Mapping[str, Answer],
    conversations: Mapping[str, Sequence[Message]],
) -> int:
    """Whatever was asked before, each answer is that of a cold engine. How many went on from what
    was known."""
    engine.forget()
    reused = 0
    for name in (*conversations, *reversed(list(conversations))):
        again = answered(engine, conversations[name])
        assert again == firsts[name], name
        reused += again.filled.cached_tokens > 0
    return reused
