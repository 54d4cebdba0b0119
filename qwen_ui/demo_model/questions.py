"""Questions about a scene and their right answers, in the style of either variant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from qwen_ui.demo_model import answers, places, strangers
from qwen_ui.demo_model.naming import Slots
from qwen_ui.demo_model.phrasings import CAPITALS, blur, dress, wording
from qwen_ui.demo_model.scenes import Scene, Thing
from qwen_ui.demo_model.words import REFUSAL, Language


@dataclass(frozen=True)
class Question:
    kind: str
    language: Language
    text: str
    short: str  # what `demo` answers
    full: str  # what `demo-thinking` answers after its thought
    boxes: tuple[tuple[int, int, int, int], ...] = ()


_ASK: dict[str, Callable[[Scene, Language, Random], Slots | None]] = {
    "shape": answers.ask_shape,
    "colour": answers.ask_colour,
    "count": answers.ask_count,
    "colour_of": answers.ask_colour_of,
    "shape_of": answers.ask_shape_of,
    "count_of": answers.ask_count_of,
    "exists": answers.ask_exists,
    "describe": answers.ask_describe,
    "number": answers.ask_number,
    "position": places.ask_position,
    "relation": places.ask_relation,
    "compare": places.ask_compare,
    "box": places.ask_box,
    "boxes": places.ask_boxes,
}
KINDS = (*_ASK, "stranger")


def refusal(text: str, language: Language) -> Question:
    return Question("stranger", language, text, REFUSAL[language], REFUSAL[language])


def ask(
    kind: str,
    scene: Scene | None,
    language: Language,
    rng: Random,
    *,
    held_out: bool = False,
    drafts: int = 1,
    capitals: float = CAPITALS,
) -> Question | None:
    """A question of this kind about the scene (None: no picture), or None where it has no
    answer, such as the colour of the one shape among three. The shortest of `drafts` wordings
    is taken; `capitals` is the share of questions that shout."""
    if kind == "stranger":
        text = strangers.question(language, rng, held_out=held_out)
        return refusal(dress(text, language, rng, capitals), language)
    known = scene is not None and not scene.strange
    pattern = min((wording(kind, language, rng, held_out=held_out) for _ in range(drafts)), key=len)
    slots = _ASK[kind](scene if scene and known else _ANY_SCENE, language, rng)
    if slots is None:
        return None
    if not held_out:
        pattern = blur(pattern, language, rng)
    for slot, value in slots.values.items():
        pattern = pattern.replace(f"<{slot}>", value)
    for vowel in "aeiou":  # "a orange circle" -> "an orange circle"
        pattern = pattern.replace(f" a {vowel}", f" an {vowel}")
    text = dress(pattern, language, rng, capitals)
    if not known:
        return refusal(text, language)
    return Question(kind, language, text, slots.short, slots.full, slots.boxes)


# Fills the slots of questions that are asked without a picture, or about a strange one.
_ANY_SCENE = Scene(
    320, 240, (255, 255, 255),
    (
        Thing("star", "orange", 0.2, 0.2, 0.1), Thing("circle", "red", 0.5, 0.85, 0.1),
        Thing("square", "blue", 0.8, 0.5, 0.1),
    ),
)  # fmt: skip
