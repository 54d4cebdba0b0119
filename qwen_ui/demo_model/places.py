"""Where things are: positions, sides and boxes."""

from __future__ import annotations

import json
from random import Random

from qwen_ui.demo_model.naming import Slots, named, pointer, unique
from qwen_ui.demo_model.scenes import Scene, Thing
from qwen_ui.demo_model.words import (
    DIRECTION_EN,
    DIRECTION_ZH,
    DIRECTIONS,
    PLACE_ZH,
    Language,
    place_en,
    sentence,
)

UNSURE = 0.035  # a place this near to the border between thirds is not asked for
CLEAR = 0.14  # a side that differs by less is not asked for


def ask_position(scene: Scene, language: Language, rng: Random) -> Slots | None:
    sure = [
        t for t in unique(scene)
        if all(abs(v - edge) > UNSURE for v in (t.x, t.y) for edge in (1 / 3, 2 / 3))
    ]  # fmt: skip
    if not sure:
        return None
    thing = rng.choice(sure)
    slots = {"o": pointer(thing, scene, language, rng)}
    if language == "zh":
        place = PLACE_ZH[thing.place]
        return Slots(slots, f"在{place}。", f"{named(thing, 'zh')}在{place}。")
    place = place_en(thing.place)
    return Slots(slots, f"{sentence(place)}.", f"The {named(thing, 'en')} is {place}.")


def _side(a: Thing, b: Thing) -> str:
    """Where `a` is, seen from `b`, by the axis on which they differ more."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"


def _pair(scene: Scene, rng: Random) -> tuple[Thing, Thing] | None:
    things = unique(scene)
    if len(things) < 2:
        return None
    a, b = rng.sample(things, 2)
    return a, b


def ask_relation(scene: Scene, language: Language, rng: Random) -> Slots | None:
    pair = _pair(scene, rng)
    if pair is None:
        return None
    a, b = pair
    direction = rng.choice(DIRECTIONS)
    offset = a.x - b.x if direction in ("left", "right") else a.y - b.y
    if abs(offset) < CLEAR:
        return None
    yes = (offset < 0) == (direction in ("left", "above"))
    slots = {"o": pointer(a, scene, language, rng), "t": pointer(b, scene, language, rng)}
    if language == "zh":
        word = DIRECTION_ZH[direction]
        slots["d"] = word
        start, negation = ("是的", "") if yes else ("不是", "不")
        full = f"{start}，{named(a, 'zh')}{negation}在{named(b, 'zh')}的{word}。"
        return Slots(slots, "是的。" if yes else "不是。", full)
    word = DIRECTION_EN[direction]
    slots["d"] = word
    if direction in ("left", "right") and rng.random() < 0.3:
        slots["d"] = f"{direction} of"
    elif rng.random() < 0.15:
        slots["d"] = {"above": "over", "below": "under"}.get(direction, word)
    full = f"The {named(a, 'en')} is {'' if yes else 'not '}{word} the {named(b, 'en')}."
    full = f"Yes, the{full[3:]}" if yes else f"No, the{full[3:]}"
    return Slots(slots, "Yes." if yes else "No.", full)


def ask_compare(scene: Scene, language: Language, rng: Random) -> Slots | None:
    pair = _pair(scene, rng)
    if pair is None:
        return None
    a, b = pair
    dx, dy = abs(a.x - b.x), abs(a.y - b.y)
    if max(dx, dy) < CLEAR or abs(dx - dy) < 0.1:
        return None
    side = _side(a, b)
    slots = {"o": pointer(a, scene, language, rng), "t": pointer(b, scene, language, rng)}
    if language == "zh":
        word = DIRECTION_ZH[side]
        full = f"{named(a, 'zh')}在{named(b, 'zh')}的{word}。"
        return Slots(slots, f"在{word}。", full)
    word = DIRECTION_EN[side]
    full = f"The {named(a, 'en')} is {word} the {named(b, 'en')}."
    return Slots(slots, f"{sentence(word)} it.", full)


def _thousandths(thing: Thing, scene: Scene) -> tuple[int, int, int, int]:
    """The box in Qwen3-VL's units, 0 to 1000, rounded to tens."""
    x1, y1, x2, y2 = (round(v * 100) * 10 for v in thing.box(scene.width, scene.height))
    return x1, y1, x2, y2


def _json(things: list[Thing], scene: Scene, language: Language) -> Slots:
    boxes = tuple(_thousandths(t, scene) for t in things)
    lines = [
        json.dumps({"bbox_2d": box, "label": named(t, language)}, ensure_ascii=False)
        for t, box in zip(things, boxes, strict=True)
    ]
    answer = "```json\n[\n" + ",\n".join(lines) + "\n]\n```"
    return Slots({}, answer, answer, boxes)


def ask_box(scene: Scene, language: Language, rng: Random) -> Slots | None:
    things = unique(scene)
    if not things:
        return None
    thing = rng.choice(things)
    slots = _json([thing], scene, language)
    asked = {"o": pointer(thing, scene, language, rng)}
    return Slots(asked, slots.short, slots.full, slots.boxes)


def ask_boxes(scene: Scene, language: Language, rng: Random) -> Slots | None:
    sure = scene.things and scene.order_is_sure
    return _json(list(scene.things), scene, language) if sure else None
