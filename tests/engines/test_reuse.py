"""Nothing that is reused changes a bit: each answer of a warm engine has the tokens and the logits
of one that never saw anything.

In fp32 and bf16, with the model of the program and with random weights of odd sizes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.base import GenerationRequest, Job, Priority, Sampling
from qwen_ui.engines.transformers import Budgets, TransformersEngine
from qwen_ui.types import Message
from tests.engines.conversations import (
    CHUNK,
    CONVERSATIONS,
    TOKENS,
    WIDE,
    A,
    Answers,
    answered,
    cold,
    nothing_changes,
    open_engine,
    user,
)
from tests.engines.tiny import Heard, ask, picture, save_tiny, submit


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    """As the program has on most machines; the other tests give torch one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(
    scope="module",
    params=[(name, dtype) for name in ("demo", "random") for dtype in ("float32", "bfloat16")],
    ids="-".join,
)
def engine(request: pytest.FixtureRequest, random_weights: Path) -> Iterator[TransformersEngine]:
    name, dtype = request.param
    opened = open_engine(VARIANTS["demo"] if name == "demo" else random_weights, dtype)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def firsts(engine: TransformersEngine) -> Answers:
    """What an engine answers that knows nothing."""
    return {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}


def test_whatever_was_asked_before_an_answer_is_that_of_a_cold_engine(
    engine: TransformersEngine, firsts: Answers
) -> None:
    assert nothing_changes(engine, firsts, CONVERSATIONS) > len(CONVERSATIONS)


@pytest.mark.parametrize("name", ["text", "ends in a picture", "one picture twice"])
def test_of_a_prompt_that_is_known_whole_the_last_chunk_is_computed(
    engine: TransformersEngine, firsts: Answers, name: str
) -> None:
    engine.forget()
    answered(engine, CONVERSATIONS[name])
    again = answered(engine, CONVERSATIONS[name])
    assert again == firsts[name]
    length = again.filled.cache.get_seq_length() - TOKENS + 1
    assert 0 < length - again.filled.cached_tokens <= CHUNK
    pictures = sum(not isinstance(part, str) for part in CONVERSATIONS[name][0].parts)
    assert again.filled.known_pictures == pictures


def test_encoded_pictures_are_known_in_another_place(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["behind a system prompt"]
    engine.forget()
    answered(engine, CONVERSATIONS["one picture"])
    again = answered(engine, CONVERSATIONS["behind a system prompt"])
    assert again == first
    assert again.filled.known_pictures == 1


def test_only_the_question_is_computed_where_the_picture_is_known(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["another question"]
    engine.forget()
    answered(engine, CONVERSATIONS["one picture"])
    again = answered(engine, CONVERSATIONS["another question"])
    assert again == first
    job = Job(GenerationRequest(CONVERSATIONS["another question"], Sampling(), 1), print)
    assert again.filled.cached_tokens >= engine._prompt(job).pictures[0].end


def test_the_next_turn_begins_where_the_last_question_ended(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["two turns"]
    engine.forget()
    asked = answered(engine, CONVERSATIONS["one picture"])
    again = answered(engine, CONVERSATIONS["two turns"])
    assert again == first
    assert again.filled.cached_tokens == asked.filled.cache.get_seq_length() - TOKENS + 1


def test_two_pictures_of_one_size_are_never_taken_for_one_another(
    engine: TransformersEngine, firsts: Answers
) -> None:
    engine.forget()
    of_a = answered(engine, CONVERSATIONS["one picture"])
    again = answered(engine, CONVERSATIONS["another picture of the same size"])
    assert again == firsts["another picture of the same size"]
    assert again.filled.known_pictures == 0
    assert not torch.equal(of_a.logits, again.logits)


def test_a_prepared_picture_changes_no_bit(engine: TransformersEngine, firsts: Answers) -> None:
    first = firsts["two pictures"]
    engine.forget()
    job = Job(GenerationRequest((user(A, WIDE),), Sampling(), 0), lambda event: None)
    engine._answer(job)
    again = answered(engine, CONVERSATIONS["two pictures"])
    assert again == first
    assert again.filled.known_pictures == 2
    assert again.filled.cached_tokens == engine._prompt(job).pictures[1].end + 1


def test_a_prompt_without_a_picture_has_nothing_to_prepare(engine: TransformersEngine) -> None:
    engine.forget()
    engine._answer(Job(GenerationRequest((user("Hi"),), Sampling(), 0), lambda event: None))
    assert answered(engine, (user("Hi"),)).filled.cached_tokens == 0


def test_nobody_profits_from_those_he_shares_nothing_with(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["one picture"]
    engine.forget()
    answered(engine, CONVERSATIONS["one picture"])
    other = answered(engine, CONVERSATIONS["one picture"], sharing="somebody else")
    assert other == first
    assert (other.filled.cached_tokens, other.filled.known_pictures) == (0, 0)


def test_other_chunks_give_other_logits(random_weights: Path) -> None:
    """These tests can see: what they call equal is not equal where the cuts differ."""
    differing = 0
    one, other = (open_engine(random_weights, "bfloat16", chunk) for chunk in (7, 64))
    for messages in CONVERSATIONS.values():
        differing += not torch.equal(cold(one, messages).logits, cold(other, messages).logits)
    one.close()
    other.close()
    assert differing > 0


@pytest.mark.parametrize("prefixes", [0, 40_000])
@pytest.mark.parametrize("features", [0, 9_000])
def test_what_was_evicted_and_made_anew_has_the_same_bits(
    random_weights: Path, prefixes: int, features: int
) -> None:
    engine = open_engine(random_weights, "bfloat16", budgets=Budgets(features, prefixes))
    firsts = {name: cold(engine, asked) for name, asked in CONVERSATIONS.items()}
    reused = 0
    for _ in range(2):
        for name, messages in CONVERSATIONS.items():
            again = answered(engine, messages)
            assert again == firsts[name]
            reused += again.filled.cached_tokens
        assert engine._known.prefixes.host_bytes <= prefixes
        assert engine._known.features.nbytes <= features
    assert (reused > 0) == (prefixes > 0)
    engine.close()


def test_an_engine_that_was_closed_and_loaded_again_gives_the_same_bits(
    random_weights: Path,
) -> None:
    found = []
    for _ in range(2):
        engine = open_engine(random_weights, "bfloat16")
        found.append([answered(engine, messages) for messages in CONVERSATIONS.values()])
        engine.close()
    assert found[0] == found[1]


def test_three_visitors_at_once_get_what_each_would_get_alone(engine: TransformersEngine) -> None:
    alone = {}
    for name, messages in CONVERSATIONS.items():
        engine.forget()
        alone[name] = ask(engine, *messages).text
    engine.forget()
    heard = []

    def visit(first: int) -> None:
        names = list(CONVERSATIONS)
        for name in names[first:] + names[:first]:
            heard.append((name, submit(engine, *CONVERSATIONS[name])[1].wait()))

    visitors = [threading.Thread(target=visit, args=(first,)) for first in (0, 4, 8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len(heard) == 3 * len(CONVERSATIONS)
    assert all(one.text == alone[name] for name, one in heard)
    assert any(one.completion.cached_tokens for _, one in heard)


def test_an_audit_begins_with_nothing_known_and_leaves_nothing(engine: TransformersEngine) -> None:
    question = Message("user", (picture(), "What is this?"))
    engine.forget()
    first = ask(engine, question)
    heard = Heard()
    request = GenerationRequest((question,), Sampling(), TOKENS)
    engine.submit(request, heard, priority=Priority.AUDIT)
    audited = heard.wait()
    assert (audited.completion.cached_tokens, audited.completion.known_pictures) == (0, 0)
    assert audited.text.startswith(first.text) or first.text.startswith(audited.text)
    engine.submit(request, again := Heard())
    assert again.wait().completion.cached_tokens > 0
