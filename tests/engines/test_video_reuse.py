"""Videos read natively: nothing that is reused changes a bit, and what is computed is what
transformers computes of the whole video at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qwen_ui.engines.base import GenerationRequest, Job, Sampling
from qwen_ui.engines.features import encode
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.prompt import PairKey, Prompt
from qwen_ui.engines.transformers import Budgets, TransformersEngine
from qwen_ui.types import Message
from tests.engines.conversations import (
    CHUNK,
    TOKENS,
    Answers,
    answered,
    cold,
    nothing_changes,
    open_engine,
    says,
    user,
)
from tests.engines.test_reuse import two_threads as two_threads
from tests.engines.tiny import ask, clip, native_demo, picture, save_tiny
from tests.engines.video_reference import WithoutTorchvision, reference_of


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "demo": native_demo(tmp_path_factory.mktemp("demo")),
        "random": save_tiny(tmp_path_factory.mktemp("tiny"), video=True),
    }


@pytest.fixture(
    scope="module",
    params=[(name, dtype) for name in ("demo", "random") for dtype in ("float32", "bfloat16")],
    ids="-".join,
)
def engine(
    request: pytest.FixtureRequest, folders: dict[str, Path]
) -> Iterator[TransformersEngine]:
    name, dtype = request.param
    opened = open_engine(folders[name], dtype)
    assert opened.spec.video == "native"
    yield opened
    opened.close()


CLIP, OTHER = clip(1, 2, 3, 4), clip(5, 6, 7, 8)
CONVERSATIONS: dict[str, tuple[Message, ...]] = {
    "a video": (user(*CLIP, "What is this?"),),
    "another question about it": (user(*CLIP, "How many?"),),
    "another video of the same form": (user(*OTHER, "What is this?"),),
    "backwards": (user(*clip(4, 3, 2, 1), "What is this?"),),
    "other pairs of the same frames": (user(*clip(1, 3, 2, 4), "What is this?"),),
    "at other times": (user(*clip(1, 2, 3, 4, start_s=3), "What is this?"),),
    "larger": (user(*clip(1, 2, 3, 4, size=(96, 64)), "What is this?"),),
    "an odd number": (user(*clip(1, 2, 3), "What is this?"),),
    "in two parts": (user(*clip(1, 2), *clip(3, 4, start_s=2), "What is this?"),),
    "two videos": (user(*clip(1, 2), *clip(5, 6), "Do they differ?"),),
    "a picture before": (user(picture(1, (64, 64)), *clip(1, 2), "Same?"),),
    "a picture behind": (user(*clip(1, 2), picture(1, (64, 64)), "Same?"),),
    "ends in a video": (user("Look:", *CLIP),),
    "the next turn": (user(*CLIP, "What is this?"), says("A disc."), user("How many?")),
    "many turns": (
        user(*clip(1, 2), "What?"),
        says("A disc."),
        user(*clip(5, 6), "And this?"),
        says("Two."),
        user("Why?"),
    ),
}


@pytest.fixture(scope="module")
def firsts(engine: TransformersEngine) -> Answers:
    """What an engine answers that knows nothing."""
    return {name: cold(engine, messages) for name, messages in CONVERSATIONS.items()}


def prompt_of(engine: TransformersEngine, messages: Sequence[Message]) -> Prompt:
    return engine._prompt(Job(GenerationRequest(tuple(messages), Sampling(), 1), print))


def test_whatever_was_asked_before_an_answer_is_that_of_a_cold_engine(
    engine: TransformersEngine, firsts: Answers
) -> None:
    assert nothing_changes(engine, firsts, CONVERSATIONS) > len(CONVERSATIONS)


def test_videos_that_differ_give_logits_that_differ(
    engine: TransformersEngine, firsts: Answers
) -> None:
    """Else the tests above could not fail."""
    same_question = [
        firsts[name].logits[0]
        for name, messages in CONVERSATIONS.items()
        if len(messages) == 1 and messages[0].parts[-1] == "What is this?"
    ]
    assert len(same_question) == 8
    for place, logits in enumerate(same_question):
        assert not any(torch.equal(logits, other) for other in same_question[:place])


def test_two_questions_about_one_video_share_everything_before_the_question(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["another question about it"]
    engine.forget()
    answered(engine, CONVERSATIONS["a video"])
    again = answered(engine, CONVERSATIONS["another question about it"])
    assert again == first
    prompt = prompt_of(engine, CONVERSATIONS["another question about it"])
    assert again.filled.cached_tokens == prompt.pictures[-1].end + 2  # both marks of its end
    assert again.filled.known_pictures == 2


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        ("a video", "at other times", 2),
        ("a video", "in two parts", 2),
        ("a video", "ends in a video", 2),
        ("an odd number", "a video", 1),
        ("a picture before", "two videos", 1),
        ("a video", "backwards", 0),
        ("a video", "other pairs of the same frames", 0),
        ("a video", "larger", 0),
    ],
)
def test_encoded_pairs_are_known_in_another_place(
    engine: TransformersEngine, firsts: Answers, before: str, after: str, pairs: int
) -> None:
    first = firsts[after]
    engine.forget()
    answered(engine, CONVERSATIONS[before])
    again = answered(engine, CONVERSATIONS[after])
    assert again == first
    assert again.filled.known_pictures == pairs


def test_the_next_turn_begins_where_the_last_question_ended(
    engine: TransformersEngine, firsts: Answers
) -> None:
    first = firsts["the next turn"]
    engine.forget()
    asked = answered(engine, CONVERSATIONS["a video"])
    again = answered(engine, CONVERSATIONS["the next turn"])
    assert again == first
    assert again.filled.cached_tokens == asked.filled.cache.get_seq_length() - TOKENS + 1


def test_a_prepared_video_changes_no_bit(engine: TransformersEngine, firsts: Answers) -> None:
    first = firsts["a video"]
    engine.forget()
    job = Job(GenerationRequest((user(*CLIP),), Sampling(), 0), lambda event: None)
    engine._answer(job)
    again = answered(engine, CONVERSATIONS["a video"])
    assert again == first
    assert again.filled.known_pictures == 2
    assert again.filled.cached_tokens == engine._prompt(job).pictures[1].end + 1


@pytest.mark.parametrize("budgets", [Budgets(0, 0), Budgets(2**15, 0), Budgets(0, 2**16)])
def test_what_does_not_fit_is_computed_again_with_the_same_bits(
    folders: dict[str, Path], budgets: Budgets
) -> None:
    engine = open_engine(folders["random"], "bfloat16", budgets=budgets)
    found = [[answered(engine, m) for m in CONVERSATIONS.values()] for _ in range(2)]
    engine.close()
    assert found[0] == found[1]


def test_a_long_pair_is_cut_and_still_the_same(folders: dict[str, Path]) -> None:
    """A pair of more tokens than a chunk: 9 and 7."""
    engine = open_engine(folders["random"], "bfloat16")
    asked = (user(*clip(1, 2, size=(96, 96)), "What?"),)
    (span,) = prompt_of(engine, asked).pictures
    assert span.end - span.start > CHUNK
    first = cold(engine, asked)
    assert answered(engine, asked) == first
    engine.close()


# --- against transformers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(folders: dict[str, Path]) -> Iterator[TransformersEngine]:
    engine = open_engine(folders["random"], "float32")
    yield engine
    engine.close()


def whole_videos(folder: Path, messages: Sequence[Message]) -> Any:
    """The inputs of transformers' own forward."""
    settings = WithoutTorchvision.from_json_file(folder / "video_preprocessor_config.json")
    return reference_of(folder, settings).inputs(messages)


@torch.inference_mode()
def test_a_pair_alone_is_encoded_as_inside_its_video(
    plain: TransformersEngine, folders: dict[str, Path]
) -> None:
    machine, asked = plain._machine, CONVERSATIONS["a video"]
    theirs = whole_videos(folders["random"], asked)
    whole = machine.model.model.get_video_features(
        theirs["pixel_values_videos"], theirs["video_grid_thw"]
    )
    pairs = [
        encode(span, machine.processor, machine.model, machine.video)
        for span in prompt_of(plain, asked).pictures
    ]
    ours = torch.cat([pair.embeds for pair in pairs])
    torch.testing.assert_close(ours, torch.cat(list(whole.pooler_output)), rtol=1e-4, atol=1e-5)
    for layer, wanted in enumerate(whole.deepstack_features):
        found = torch.cat([pair.deepstack[layer] for pair in pairs])
        torch.testing.assert_close(found, torch.cat(list(wanted)), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_first_logits_are_those_of_one_forward_of_transformers(
    plain: TransformersEngine, folders: dict[str, Path], name: str
) -> None:
    model = plain._machine.model
    model.model.rope_deltas = None
    theirs = whole_videos(folders["random"], CONVERSATIONS[name])
    wanted = model(**theirs, logits_to_keep=1).logits[0, -1]
    ours = cold(plain, CONVERSATIONS[name]).logits[0]
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-3)


# --- a model that reads them as pictures ---------------------------------------------------------


def test_as_pictures_each_frame_is_a_picture_of_its_own(folders: dict[str, Path]) -> None:
    folder = folders["random"]
    native, pictures = (
        resolve_spec("m", folder, "r", Placement(device="cpu", video=way), source="")
        for way in ("auto", "pictures")
    )
    assert native.fingerprint() != pictures.fingerprint()
    assert replace(native, video="pictures").fingerprint() == pictures.fingerprint()
    engine = load_engine(pictures, folder, lambda fraction: None)
    prompt = prompt_of(engine, CONVERSATIONS["a video"])
    assert len(prompt.pictures) == 4
    assert not any(isinstance(span.key, PairKey) for span in prompt.pictures)
    assert ask(engine, *CONVERSATIONS["a video"]).completion.completion_tokens
    engine.close()
