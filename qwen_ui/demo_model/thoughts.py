"""What `demo-thinking` writes before it answers: each thing with its place, then how many."""

from __future__ import annotations

from qwen_ui.demo_model.questions import Question
from qwen_ui.demo_model.scenes import Scene, Thing
from qwen_ui.demo_model.words import COLOUR_ZH, COUNT_EN, COUNT_ZH, PLACE_ZH, SHAPE_ZH, Language


def _spot(thing: Thing, language: Language) -> str:
    if language == "zh":
        return f"{COLOUR_ZH[thing.colour]}{SHAPE_ZH[thing.kind]}，{PLACE_ZH[thing.place]}"
    return f"{thing.colour} {thing.kind}, {thing.place}"


def thought(scene: Scene | None, question: Question) -> str:
    """Depends on the picture and the language alone, but for questions out of the world."""
    zh = question.language == "zh"
    if scene is None:
        return "没有图片。" if zh else "There is no picture."
    if scene.strange:
        return (
            "这不是画出来的图形或数字。" if zh else "This is not a drawing of shapes or a number."
        )
    if question.kind == "stranger":
        return (
            "这个问题与图形和数字无关。" if zh else "The question is not about shapes or numbers."
        )
    if scene.number is not None:
        colour = scene.digits[0].colour
        return (
            f"{COLOUR_ZH[colour]}的数字{scene.number}。"
            if zh
            else f"The number {scene.number}, {colour}."
        )
    n = len(scene.things)
    if n == 0:
        return "没有图形。" if zh else "No shapes."
    spots = ("；" if zh else "; ").join(_spot(t, question.language) for t in scene.things)
    if zh:
        return f"{spots}。共{COUNT_ZH[n]}个。"
    return f"{spots}. {COUNT_EN[n]} in all."
