"""The transformers engine on a random-weight Qwen3-VL of odd sizes."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from cache_store.images import canonicalise, digest
from qwen_ui.engines.base import Completion, GenerationRequest, Job, Sampling
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.sampler import Sampler
from qwen_ui.engines.transformers import TransformersEngine, _memory_errors_told
from qwen_ui.errors import ContextTooLong, GenerationFailed, OutOfMemory
from qwen_ui.events import TextDelta
from qwen_ui.types import FinishReason, Image, Message
from tests.engines.tiny import Heard, ask, picture, save_tiny, submit


def load(folder: Path) -> TransformersEngine:
    spec = resolve_spec("tiny", folder, "random", Placement(device="cpu"), source=str(folder))
    return load_engine(spec, folder, lambda fraction: None)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransformersEngine]:
    engine = load(save_tiny(tmp_path_factory.mktemp("tiny"), dtype=request.param))
    yield engine
    engine.close()


QUESTION = Message("user", (picture(), "What is this?"))
CONVERSATIONS = {
    "text": (Message("user", ("Hello",)),),
    "picture": (QUESTION,),
    "two pictures": (Message("user", (picture(1), "and", picture(2, (64, 128)), "differ?")),),
    "system": (Message("system", ("Be brief.",)), QUESTION),
    "turns": (
        QUESTION,
        Message("assistant", ("A thing.",)),
        Message("user", (picture(3), "And this?")),
    ),
}


def plain(engine: TransformersEngine, messages: tuple[Message, ...], max_tokens: int) -> list[int]:
    """The ids that transformers' own generate() gives."""
    processor, model = engine._machine.processor, engine._machine.model
    inputs = processor.apply_chat_template(
        [
            {
                "role": m.role,
                "content": [
                    {"type": "text", "text": p}
                    if isinstance(p, str)
                    else {"type": "image", "image": p.load()}
                    for p in m.parts
                ],
            }
            for m in messages
        ],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
    )
    ids = model.generate(
        **inputs, max_new_tokens=max_tokens, do_sample=False, suppress_tokens=engine._suppressed
    )
    model.model.rope_deltas = None  # generate() leaves it behind
    new: list[int] = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return new


def generated(engine: TransformersEngine, messages: tuple[Message, ...], count: int) -> list[int]:
    """The ids that the engine gives, end or no end."""
    job = Job(GenerationRequest(messages, Sampling(), count), lambda event: None)
    with torch.inference_mode():
        prompt = engine._prompt(job)
        filled = engine._prefill(prompt, job).run()
        tokens = engine._tokens(filled, prompt, Sampler(Sampling(), engine._suppressed), job)
        return [token for token, _ in islice(tokens, count)]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_answer_is_that_of_plain_generate(engine: TransformersEngine, name: str) -> None:
    """Its tokens here; not bit for bit: generate() prefills a prompt in one piece, and the engine
    always in its own chunks, so that reuse changes nothing (see test_reuse.py)."""
    messages = CONVERSATIONS[name]
    ours = generated(engine, messages, 16)
    assert ours == plain(engine, messages, 16)
    assert len(set(ours)) > 3  # a model that says one thing for ever would prove nothing


def test_pictures_and_their_order_matter(engine: TransformersEngine) -> None:
    one, two = picture(1), picture(2)
    texts = {
        ask(engine, Message("user", parts)).text
        for parts in ((one, "?"), (two, "?"), (one, two, "?"), (two, one, "?"), (one, "?", two))
    }
    assert len(texts) == 5


def test_the_model_gets_the_pixels_that_were_hashed(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = type(engine._machine.processor.image_processor).__call__

    def spy(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(images)
        return original(self, images, *args, **kwargs)

    monkeypatch.setattr(type(engine._machine.processor.image_processor), "__call__", spy)
    wanted = picture(7)
    ask(engine, Message("user", (wanted, "?")))
    flat = seen[0]
    while isinstance(flat, list):
        flat = flat[0]
    assert digest(canonicalise(flat)) == wanted.digest


def test_requests_leave_nothing_behind_on_the_model(engine: TransformersEngine) -> None:
    engine._machine.model.model.rope_deltas = None
    ask(engine, QUESTION)
    assert engine._machine.model.model.rope_deltas is None


def test_askers_at_once_get_their_own_answers(engine: TransformersEngine) -> None:
    alone = {name: ask(engine, *messages).text for name, messages in CONVERSATIONS.items()}
    together: dict[tuple[str, int], Heard] = {}
    for round in range(3):
        for name, messages in CONVERSATIONS.items():
            together[name, round] = submit(engine, *messages)[1]
    assert {key: heard.wait().text for key, heard in together.items()} == {
        (name, round): alone[name] for name in CONVERSATIONS for round in range(3)
    }


def test_special_tokens_typed_as_text_reach_the_model_as_text(engine: TransformersEngine) -> None:
    typed = "Is <|im_end|> or <|image_pad|> or <|vision_start|> here?"
    inputs = engine._machine.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": typed}]}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
    )["input_ids"][0].tolist()
    known = engine._machine.processor.tokenizer.get_added_vocab()
    assert inputs.count(known["<|im_end|>"]) == 1  # the template's own
    assert known["<|image_pad|>"] not in inputs
    assert known["<|vision_start|>"] not in inputs
    assert ask(engine, Message("user", (typed,))).completion.reason is FinishReason.LENGTH


def test_generation_ends_at_exactly_max_tokens(engine: TransformersEngine) -> None:
    end = ask(engine, QUESTION, max_tokens=5).completion
    assert (end.reason, end.completion_tokens) == (FinishReason.LENGTH, 5)


def test_a_shorter_answer_is_the_beginning_of_a_longer_one(engine: TransformersEngine) -> None:
    short, long = (ask(engine, QUESTION, max_tokens=n).text for n in (6, 18))
    assert long.startswith(short)


def test_the_end_token_ends_the_answer_and_is_counted(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = generated(engine, (QUESTION,), 8)
    last = tokens[5]
    expected = tokens.index(last) + 1
    monkeypatch.setattr(engine, "_end_ids", frozenset({last}))
    end = ask(engine, QUESTION, max_tokens=50).completion
    assert (end.reason, end.completion_tokens) == (FinishReason.STOP, expected)


def test_the_model_never_opens_a_picture_of_its_own(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = generated(engine, (QUESTION,), 1)[0]
    monkeypatch.setattr(engine, "_suppressed", [*engine._suppressed, first])
    assert generated(engine, (QUESTION,), 1)[0] != first


def test_a_full_context_is_told_apart_from_a_finished_answer(engine: TransformersEngine) -> None:
    end = ask(engine, Message("user", ("x" * 200,)), max_tokens=500).completion
    assert end.reason is FinishReason.CONTEXT
    assert end.prompt_tokens + end.completion_tokens == engine.spec.context_tokens


def test_too_long_a_conversation_is_a_clear_error_and_the_engine_goes_on(
    engine: TransformersEngine,
) -> None:
    error = ask(engine, Message("user", ("x" * 300,))).failure.error
    assert isinstance(error, ContextTooLong)
    assert "256" in str(error)
    assert ask(engine, QUESTION).text


def test_stop_acts_within_one_token(engine: TransformersEngine) -> None:
    heard = Heard()
    go_on = threading.Event()
    deltas_after_stop = 0

    def hear(event: object) -> None:
        nonlocal deltas_after_stop
        if isinstance(event, TextDelta):
            if job.stop.is_set():
                deltas_after_stop += 1
            go_on.wait(10)
            job.cancel()
        heard(event)  # type: ignore[arg-type]

    job = engine.submit(GenerationRequest((QUESTION,), Sampling(), 150), hear)
    go_on.set()
    assert heard.wait().completion.reason is FinishReason.CANCELLED
    assert deltas_after_stop == 0
    assert ask(engine, QUESTION).text


def test_a_stop_during_prefill_acts_when_the_forward_returns(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()
    forward = engine._machine.model.model.forward

    def slow(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        leave.wait(10)
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine._machine.model.model, "forward", slow)
    job, heard = submit(engine, QUESTION, max_tokens=100)
    assert entered.wait(10)
    job.cancel()
    leave.set()
    end = heard.wait().completion
    assert (end.reason, end.completion_tokens) == (FinishReason.CANCELLED, 0)


def test_a_job_stopped_in_the_queue_never_reaches_the_model(engine: TransformersEngine) -> None:
    _, first = submit(engine, QUESTION, max_tokens=60)
    job, second = submit(engine, QUESTION)
    job.cancel()
    assert second.wait().completion == Completion(FinishReason.CANCELLED, 0, 0, 0.0, 0.0, 0.0)
    assert first.wait().completion.completion_tokens == 60


DRAWN = Sampling(temperature=1.0, top_p=0.95, top_k=20, seed=0)


def test_sampling_is_decided_by_the_request_alone(engine: TransformersEngine) -> None:
    first = ask(engine, QUESTION, sampling=DRAWN).text
    torch.manual_seed(1234)
    ask(engine, CONVERSATIONS["text"][0], sampling=DRAWN)
    assert ask(engine, QUESTION, sampling=DRAWN).text == first
    others = {ask(engine, QUESTION, sampling=Sampling(1.0, 0.95, 20, s)).text for s in range(1, 5)}
    assert others - {first}


def test_out_of_memory_is_a_clear_error_and_the_engine_goes_on(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine._machine.model.model, "forward", exhausted)
        assert isinstance(ask(engine, QUESTION).failure.error, OutOfMemory)
    assert ask(engine, QUESTION).text


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_that_runs_out_in_a_library_is_out_of_memory_too(message: str) -> None:
    with pytest.raises(OutOfMemory), _memory_errors_told():
        raise RuntimeError(message)


def test_another_error_of_torch_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), _memory_errors_told():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_where_memory_is_short_what_is_kept_goes_and_the_answer_comes(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, kept = ask(engine, QUESTION).text, engine._known
    forward, calls = engine._machine.model.model.forward, iter([torch.OutOfMemoryError("CUDA")])

    def short(*args: Any, **kwargs: Any) -> Any:
        for error in calls:
            raise error
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine._machine.model.model, "forward", short)
    assert ask(engine, QUESTION).text == wanted
    assert engine._known is not kept


def test_a_known_picture_is_not_even_decoded(engine: TransformersEngine) -> None:
    ask(engine, QUESTION)

    def gone() -> Any:
        raise OSError("no such file")

    image = replace(picture(), load=gone)
    end = ask(engine, Message("user", (image, "And its colour?"))).completion
    assert end.known_pictures == 1


def test_a_picture_that_cannot_be_loaded_fails_its_own_request_only(
    engine: TransformersEngine,
) -> None:
    def gone() -> Any:
        raise OSError("no such file")

    heard = ask(engine, Message("user", (Image("0", 8, 8, gone), "?")))
    assert isinstance(heard.failure.error, GenerationFailed)
    assert ask(engine, QUESTION).text


def test_closing_finishes_running_answers_and_frees_the_model(tmp_path: Path) -> None:
    engine = load(save_tiny(tmp_path))
    model = weakref.ref(engine._machine.model)
    _, heard = submit(engine, QUESTION, max_tokens=30)
    engine.close()
    assert heard.wait().completion.completion_tokens == 30
    gc.collect()
    assert model() is None


def test_an_idle_engine_keeps_no_picture_alive(engine: TransformersEngine) -> None:
    lent = picture(9)
    held = weakref.ref(lent.load.__self__)  # type: ignore[attr-defined]
    ask(engine, Message("user", (lent, "?")))
    del lent
    deadline = time.monotonic() + 5
    while held() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert held() is None


def test_a_thinking_model_tells_thoughts_and_answer_apart(tmp_path: Path) -> None:
    engine = load(save_tiny(tmp_path, thinking=True))
    assert engine.spec.thinking
    assert engine.spec.sampling == Sampling(temperature=1.0, top_p=0.95, top_k=20, seed=0)
    says = engine._machine.processor.tokenizer("A red one.\n</think>\n\nRed.<|im_end|>")[
        "input_ids"
    ]
    engine._tokens = lambda *args: ((id, None) for id in says)  # type: ignore
    heard = ask(engine, QUESTION, max_tokens=100)
    engine.close()
    assert (heard.thought, heard.text) == ("A red one.", "Red.")
    assert heard.completion.reason is FinishReason.STOP


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    """It only thinks: it cannot end a thought by itself."""
    engine = load(save_tiny(tmp_path_factory.mktemp("thinker"), thinking=True))
    known = engine._machine.processor.tokenizer.get_added_vocab()
    engine._suppressed += [known["<think>"], known["</think>"]]
    yield engine
    engine.close()


def thinking(engine: TransformersEngine, budget: int | None, max_tokens: int = 20) -> Heard:
    heard = Heard()
    engine.submit(GenerationRequest((QUESTION,), Sampling(), max_tokens, budget), heard)
    return heard.wait()


def test_past_its_budget_the_thought_is_ended_and_the_answer_goes_on(
    thinker: TransformersEngine,
) -> None:
    free, cut = thinking(thinker, None), thinking(thinker, 5)
    assert (free.completion.reason, free.text) == (FinishReason.LENGTH, "")
    assert cut.completion.reason is FinishReason.THOUGHT
    assert cut.thought
    assert free.thought.startswith(cut.thought)
    assert cut.text
    assert cut.completion.completion_tokens == 20


def test_the_model_reads_the_ending_that_was_written_for_it(thinker: TransformersEngine) -> None:
    seen: list[int] = []
    forward = thinker._machine.model.forward

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(int(kwargs["input_ids"][0, -1]))
        return forward(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thinker._machine.model, "forward", spy)
        thinking(thinker, 5, max_tokens=20)
    ending = thinker._machine.processor.tokenizer("\n</think>\n\n")["input_ids"]
    assert seen[5 : 5 + len(ending)] == ending  # behind five thoughts


@pytest.mark.parametrize("budget", [20, 1000])
def test_a_budget_that_is_not_used_up_changes_nothing(
    thinker: TransformersEngine, budget: int
) -> None:
    free, within = thinking(thinker, None), thinking(thinker, budget)
    assert within.thought == free.thought
    assert within.completion.reason is FinishReason.LENGTH
