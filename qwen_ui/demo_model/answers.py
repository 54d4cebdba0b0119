"""What is there: the slots of a question of each kind and its two right answers.

Each function returns None where the scene allows no such question.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from qwen_ui.demo_model.naming import Slots, colour_name, named, shape_name
from qwen_ui.demo_model.scenes import COLOURS, SHAPES, Scene, Thing
from qwen_ui.demo_model.words import (
    COLOUR_ZH,
    COUNT_EN,
    COUNT_ZH,
    PLACE_ZH,
    SHAPE_ZH,
    Language,
    article,
    listed,
    place_en,
    plural,
    sentence,
)


def _counted(n: int, noun_en: str, noun_en_many: str, noun_zh: str, language: Language) -> str:
    if language == "zh":
        return f"没有{noun_zh}。" if n == 0 else f"有{COUNT_ZH[n]}个{noun_zh}。"
    verb = "is" if n == 1 else "are"
    return f"There {verb} {COUNT_EN[n]} {noun_en if n == 1 else noun_en_many}."


def _bare_count(n: int, language: Language) -> str:
    if language == "zh":
        return "没有。" if n == 0 else f"{COUNT_ZH[n]}个。"
    return "None." if n == 0 else f"{sentence(COUNT_EN[n])}."


def ask_shape(scene: Scene, language: Language, rng: Random) -> Slots | None:
    if len(scene.things) != 1:
        return ask_describe(scene, language, rng) if len(scene.things) > 1 else None
    shape = scene.things[0].kind
    if language == "zh":
        return Slots({}, f"{SHAPE_ZH[shape]}。", f"这个图形是{SHAPE_ZH[shape]}。")
    return Slots({}, f"{sentence(article(shape))}.", f"The shape is {article(shape)}.")


def ask_colour(scene: Scene, language: Language, rng: Random) -> Slots | None:
    if scene.number is not None:
        colour, en, zh = scene.digits[0].colour, "number", "数字"
    elif len(scene.things) == 1:
        colour, en = scene.things[0].colour, scene.things[0].kind
        zh = SHAPE_ZH[en]
    else:
        return None
    if language == "zh":
        return Slots({}, f"{COLOUR_ZH[colour]}。", f"{zh}是{COLOUR_ZH[colour]}的。")
    return Slots({}, f"{sentence(colour)}.", f"The {en} is {colour}.")


def ask_count(scene: Scene, language: Language, rng: Random) -> Slots | None:
    n = len(scene.things)
    full = _counted(n, "shape in the picture", "shapes in the picture", "图形", language)
    return Slots({}, _bare_count(n, language), full if language == "en" else "图中" + full)


def ask_colour_of(scene: Scene, language: Language, rng: Random) -> Slots | None:
    if scene.number is not None and rng.random() < 0.5:
        colour = scene.digits[0].colour
        if language == "zh":
            return Slots({"s": "数字"}, f"{COLOUR_ZH[colour]}。", f"数字是{COLOUR_ZH[colour]}的。")
        return Slots({"s": "number"}, f"{sentence(colour)}.", f"The number is {colour}.")
    kinds = Counter(t.kind for t in scene.things)
    alone = [t for t in scene.things if kinds[t.kind] == 1]
    if alone and rng.random() < 0.93:
        thing = rng.choice(alone)
        slots = {"s": shape_name(thing.kind, language, rng)}
        if language == "zh":
            colour = COLOUR_ZH[thing.colour]
            return Slots(slots, f"{colour}。", f"{SHAPE_ZH[thing.kind]}是{colour}的。")
        full = f"The {thing.kind} is {thing.colour}."
        return Slots(slots, f"{sentence(thing.colour)}.", full)
    missing = [s for s in SHAPES if s not in kinds]
    shape = rng.choice(missing)
    slots = {"s": shape_name(shape, language, rng)}
    if language == "zh":
        return Slots(slots, f"没有{SHAPE_ZH[shape]}。", f"图中没有{SHAPE_ZH[shape]}。")
    return Slots(slots, f"There is no {shape}.", f"There is no {shape} in the picture.")


def ask_shape_of(scene: Scene, language: Language, rng: Random) -> Slots | None:
    colours = Counter(t.colour for t in scene.things)
    alone = [t for t in scene.things if colours[t.colour] == 1]
    if alone and rng.random() < 0.93:
        thing = rng.choice(alone)
        slots = {"c": colour_name(thing.colour, language, rng)}
        if language == "zh":
            shape = SHAPE_ZH[thing.kind]
            return Slots(slots, f"{shape}。", f"{COLOUR_ZH[thing.colour]}的是{shape}。")
        named = article(thing.kind)
        return Slots(slots, f"{sentence(named)}.", f"The {thing.colour} shape is {named}.")
    if scene.number is not None:
        return None
    colour = rng.choice([c for c in COLOURS if c not in colours])
    slots = {"c": colour_name(colour, language, rng)}
    if language == "zh":
        named = f"没有{COLOUR_ZH[colour]}的图形。"
        return Slots(slots, named, f"图中{named}")
    return Slots(slots, f"There is no {colour} shape.", f"There is no {colour} shape here.")


def ask_count_of(scene: Scene, language: Language, rng: Random) -> Slots | None:
    by_shape = rng.random() < 0.6
    present = [t.kind if by_shape else t.colour for t in scene.things]
    every = list(SHAPES if by_shape else COLOURS)
    wanted = rng.choice(present) if present and rng.random() < 0.75 else rng.choice(every)
    n = present.count(wanted)
    if by_shape:
        one, many, zh = wanted, plural(wanted), SHAPE_ZH[wanted]
        asked = many if language == "en" else shape_name(wanted, language, rng)
    else:
        one, many, zh = f"{wanted} shape", f"{wanted} shapes", f"{COLOUR_ZH[wanted]}的图形"
        things = rng.choice(("shapes", "objects", "things", "figures"))
        asked = f"{wanted} {things}" if language == "en" else zh
        if language == "zh" and rng.random() < 0.4:
            asked = f"{colour_name(wanted, language, rng)}{rng.choice(('图形', '的物体', '物体'))}"
    full = _counted(n, one, many, zh, language)
    return Slots({"p": asked}, _bare_count(n, language), full)


def _absent(scene: Scene, rng: Random) -> Thing:
    """A thing that is not there; often one that shares a shape or colour with one that is."""
    have = {(t.kind, t.colour) for t in scene.things}
    while True:
        kind, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
        if scene.things and rng.random() < 0.6:
            other = rng.choice(scene.things)
            kind, colour = rng.choice(((other.kind, colour), (kind, other.colour)))
        if (kind, colour) not in have:
            return Thing(kind, colour, 0, 0, 0)


def ask_exists(scene: Scene, language: Language, rng: Random) -> Slots | None:
    there = bool(scene.things) and rng.random() < 0.5
    thing = rng.choice(scene.things) if there else _absent(scene, rng)
    by_shape = rng.random() < 0.4
    if by_shape and not there:
        missing = [s for s in SHAPES if s not in {t.kind for t in scene.things}]
        thing = Thing(rng.choice(missing), thing.colour, 0, 0, 0)
    if by_shape:
        asked, name = shape_name(thing.kind, language, rng), shape_name(thing.kind, language)
        many = plural(thing.kind)
    else:
        asked, name = named(thing, language, rng), named(thing, language)
        many = f"{thing.colour} {plural(thing.kind)}"
    slots = {"o": asked, "os": many}
    if language == "zh":
        return Slots(slots, "有。" if there else "没有。", f"{'有' if there else '没有'}{name}。")
    full = f"Yes, there is {article(name)}." if there else f"No, there is no {name}."
    return Slots(slots, "Yes." if there else "No.", full)


def ask_describe(scene: Scene, language: Language, rng: Random) -> Slots | None:
    if scene.number is not None:
        short = f"The number {scene.number}." if language == "en" else f"数字{scene.number}。"
        colour = scene.digits[0].colour
        if language == "zh":
            return Slots({}, short, f"图中是{COLOUR_ZH[colour]}的数字{scene.number}。")
        return Slots({}, short, f"The picture shows the number {scene.number} in {colour}.")
    n = len(scene.things)
    if n == 0:
        if language == "zh":
            return Slots({}, "图中什么都没有。", "图中没有图形。")
        return Slots({}, "The picture is empty.", "There are no shapes in the picture.")
    if not scene.order_is_sure:
        return None
    names = [named(t, language) for t in scene.things]
    if language == "zh":
        places = [
            f"{PLACE_ZH[t.place]}的{name}" for t, name in zip(scene.things, names, strict=True)
        ]
        short = f"图中有{COUNT_ZH[n]}个图形：{listed(names, 'zh')}。"
        return Slots({}, short, f"图中一共有{COUNT_ZH[n]}个图形：{listed(places, 'zh')}。")
    things = f"{COUNT_EN[n]} {'object' if n == 1 else 'objects'}"
    short = f"There {'is' if n == 1 else 'are'} {things}: "
    short += f"{listed([article(name) for name in names], 'en')}."
    places = [
        f"{article(name)} {place_en(t.place)}" for t, name in zip(scene.things, names, strict=True)
    ]
    return Slots({}, short, f"The picture shows {things}: {listed(places, 'en')}.")


def ask_number(scene: Scene, language: Language, rng: Random) -> Slots | None:
    if scene.number is None:
        none = "There is no number." if language == "en" else "没有数字。"
        return Slots({}, none, none)
    if language == "zh":
        return Slots({}, f"{scene.number}。", f"图中的数字是{scene.number}。")
    return Slots({}, f"{scene.number}.", f"The number in the picture is {scene.number}.")
