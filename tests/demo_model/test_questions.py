"""The answers are true of the scene, and some wordings stay out of training."""

from random import Random

import pytest

from qwen_ui.demo_model.evaluate import boxes_of, overlap
from qwen_ui.demo_model.phrasings import LANGUAGES, wording
from qwen_ui.demo_model.questions import KINDS, Question, ask
from qwen_ui.demo_model.scenes import Scene, Thing, number_scene, strange_scene
from qwen_ui.demo_model.words import REFUSAL, Language

SCENE = Scene(
    400, 300, (255, 255, 255),
    (
        Thing("circle", "red", 0.2, 0.2, 0.12), Thing("square", "orange", 0.85, 0.5, 0.12),
        Thing("star", "blue", 0.5, 0.8, 0.12),
    ),
)  # fmt: skip


def _asked(kind: str, language: Language, scene: Scene | None = SCENE) -> list[Question]:
    rng = Random(f"{kind} {language}")
    found = [ask(kind, scene, language, rng) for _ in range(80)]
    return [q for q in found if q is not None]


def _short(kind: str, language: Language, scene: Scene | None = SCENE) -> set[str]:
    return {q.short for q in _asked(kind, language, scene)}


def test_counting_and_describing() -> None:
    assert _short("count", "en") == {"Three."}
    assert _short("count", "zh") == {"三个。"}
    assert _short("describe", "en") == {
        "There are three objects: a red circle, an orange square and a blue star."
    }
    assert _short("describe", "zh") == {"图中有三个图形：红色圆形、橙色正方形和蓝色星形。"}


def test_answers_depend_on_the_thing_that_is_asked_for() -> None:
    for question in _asked("colour_of", "en"):
        for shape, colour in (("circle", "Red."), ("star", "Blue."), ("square", "Orange.")):
            if shape in question.text.lower():
                assert question.short == colour
    for question in _asked("exists", "en"):
        text = question.text.lower()
        if any(n in text for n in ("red circle", "blue star", "orange square")):
            assert question.short == "Yes."
    assert _short("position", "zh") == {"在左上角。", "在下方。", "在右侧。"}


def test_relations_agree_with_the_places() -> None:
    for question in _asked("relation", "en"):
        assert ("is not" in question.full) == question.full.startswith("No")
    for question in _asked("compare", "en"):
        if "red circle is" in question.full:
            assert "left" in question.full or "above" in question.full


def test_boxes_are_in_the_form_of_qwen3_vl() -> None:
    for question in _asked("box", "en"):
        assert boxes_of(question.short) == list(question.boxes)
        assert all(0 <= v <= 1000 for box in question.boxes for v in box)
    assert overlap((0, 0, 10, 10), (0, 0, 10, 5)) == pytest.approx(0.5)


def test_numbers() -> None:
    scene = number_scene(1, 400, 300, number=7)
    assert _short("number", "en", scene) == {"7."}
    assert _short("describe", "zh", scene) == {"数字7。"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_outside_the_world_there_is_one_sentence(language: Language) -> None:
    strange = strange_scene(1, 400, 300)
    for kind in KINDS:
        for scene in (strange, None):
            assert _short(kind, language, scene) <= {REFUSAL[language]}
    assert _short("stranger", language) == {REFUSAL[language]}


def test_held_out_wordings_are_never_trained_on() -> None:
    for kind in KINDS[:-1]:
        for language in LANGUAGES:
            rng = Random(0)
            trained = {wording(kind, language, rng) for _ in range(400)}
            held = {wording(kind, language, rng, held_out=True) for _ in range(200)}
            assert not trained & held
            assert len(held) >= 3
