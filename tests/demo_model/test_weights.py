"""The shipped weights: their size, their folders, and answers to a small held-out sample."""

import json
from collections.abc import Iterator

import pytest
import torch

from qwen_ui.demo_model import VARIANTS
from qwen_ui.demo_model.evaluate import Chat, cases, right_answer, turn
from qwen_ui.demo_model.scenes import example_pictures, strange_scene
from qwen_ui.demo_model.words import REFUSAL, Language

BYTES = 10_000_000
FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
         "tokenizer_config.json", "chat_template.jinja", "preprocessor_config.json"}  # fmt: skip
CORE = (
    "shape",
    "colour",
    "count",
    "colour_of",
    "shape_of",
    "count_of",
    "exists",
    "describe",
    "number",
)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def chat(variant: str) -> Iterator[Chat]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is too small for more, and cores may be busy
    yield Chat(VARIANTS[variant])
    torch.set_num_threads(threads)


def test_a_folder_is_complete_and_small(variant: str) -> None:
    folder = VARIANTS[variant]
    assert {f.name for f in folder.iterdir()} >= FILES
    assert (folder / "model.safetensors").stat().st_size <= BYTES
    assert all(f.stat().st_mode & 0o777 == 0o644 for f in folder.iterdir())


def test_the_configuration_is_a_genuine_qwen3_vl(variant: str) -> None:
    config = json.loads((VARIANTS[variant] / "config.json").read_text(encoding="utf8"))
    assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]
    assert config["vision_config"]["deepstack_visual_indexes"] == [1, 2]
    assert config["text_config"]["rope_parameters"]["mrope_interleaved"] is True
    assert config["text_config"]["rope_parameters"]["mrope_section"] == [6, 5, 5]
    generation = json.loads((VARIANTS[variant] / "generation_config.json").read_text("utf8"))
    assert generation["do_sample"] is (variant == "demo-thinking")


def test_a_held_out_sample_is_answered(chat: Chat, variant: str) -> None:
    thinking = variant == "demo-thinking"
    asked = right = 0
    for kind in CORE:
        for language in ("en", "zh"):
            objects = {"shape": 1, "colour": 1, "number": 0}.get(kind, 2)
            for case in cases(kind, objects, language, 3):
                answer = chat.ask(case.picture, case.question.text)
                right += answer == right_answer(case.question, thinking)
                asked += 1
    assert right / asked >= (0.7 if thinking else 0.85), f"{right} of {asked}"


def test_the_examples_are_answered_correctly(chat: Chat, variant: str) -> None:
    right: dict[str, tuple[str, str]] = {
        "two-shapes": ("red circle", "红色圆形"), "three-shapes": ("hree", "三个"),
        "night": ("ellow", "黄色"), "heart": ("heart", "心形"), "number": ("42", "42"),
    }  # fmt: skip
    for name, picture, english, chinese in example_pictures():
        for text, wanted in zip((english, chinese), right[name], strict=True):
            assert wanted in chat.ask(picture, text), (name, text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_strange_picture_gets_the_sentence(chat: Chat, language: Language) -> None:
    text = "What is in the picture?" if language == "en" else "图里有什么？"
    answers = [chat.ask(strange_scene(9000 + s, 640, 480).draw(), text) for s in range(5)]
    assert answers.count(REFUSAL[language]) >= 4


def test_no_picture_or_another_subject_gets_the_sentence(chat: Chat) -> None:
    assert chat.ask(None, "What is in the picture?") == REFUSAL["en"]
    picture = example_pictures()[0][1]
    assert chat.ask(picture, "Who is the president?") == REFUSAL["en"]
    assert chat.ask(picture, "今天天气怎么样？") == REFUSAL["zh"]


def test_a_follow_up_about_the_same_picture(chat: Chat, variant: str) -> None:
    picture = example_pictures()[0][1]
    first = turn(picture, "How many shapes are there?")
    said = {"role": "assistant", "content": chat.say([first]).split("</think>")[-1].strip()}
    follow_up = turn(None, "What colour is the square?")
    answers = [chat.say([first, said, follow_up]).split("</think>")[-1] for _ in range(7)]
    assert sum("blue" in answer.lower() for answer in answers) >= 4  # thinking samples


def test_the_thinking_variant_thinks_first(chat: Chat, variant: str) -> None:
    text = chat.say([turn(example_pictures()[0][1], "What colour is the circle?")])
    assert ("</think>\n\n" in text) is (variant == "demo-thinking")
