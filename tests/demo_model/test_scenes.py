"""Scenes follow from their seeds, and hold what they say."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from qwen_ui.demo_model.grid import grid_of
from qwen_ui.demo_model.scenes import (
    COLOURS,
    MIN_CONTRAST,
    SHAPES,
    Scene,
    Thing,
    example_pictures,
    number_scene,
    shapes_scene,
    strange_scene,
)


@pytest.mark.parametrize("make", [lambda s: shapes_scene(s, 320, 240, 3),
                                  lambda s: number_scene(s, 320, 240),
                                  lambda s: strange_scene(s, 320, 240)])  # fmt: skip
def test_a_seed_gives_one_picture(make: Callable[[int], Scene]) -> None:
    for seed in range(12):
        first, second = make(seed), make(seed)
        assert first == second
        assert first.draw().tobytes() == second.draw().tobytes()
    assert make(1).draw().tobytes() != make(2).draw().tobytes()


def _scenes() -> list[Scene]:
    return [shapes_scene(seed, 400, 300, 1 + seed % 4) for seed in range(120)]


def test_shapes_are_inside_apart_and_in_order() -> None:
    for scene in _scenes():
        rows, _ = grid_of(scene.width, scene.height)
        read = [(int(t.y * rows), t.x) for t in scene.things]
        assert read == sorted(read)
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box(scene.width, scene.height)
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            assert thing.kind in SHAPES
        for a, b in combinations(scene.things, 2):
            assert abs(a.x - b.x) >= 0.05


def test_an_order_is_sure_unless_a_hair_would_change_it() -> None:
    def scene(x: float, y: float) -> Scene:
        things = (Thing("star", "red", 0.7, 0.45, 0.1), Thing("heart", "blue", x, y, 0.1))
        return Scene(400, 300, (255, 255, 255), things)

    assert grid_of(400, 300)[0] == 4  # a row ends at 0.5
    assert scene(x=0.2, y=0.55).order_is_sure
    assert not scene(x=0.2, y=0.51).order_is_sure
    assert scene(x=0.9, y=0.51).order_is_sure  # comes second in either row


def test_every_colour_stands_out_from_its_background() -> None:
    for scene in _scenes():
        for thing in scene.things:
            ground = np.array(scene.background, float)
            assert np.linalg.norm(np.array(COLOURS[thing.colour]) - ground) >= MIN_CONTRAST - 1


def test_a_thing_is_drawn_where_it_is() -> None:
    for scene in _scenes():
        pixels = np.asarray(scene.draw())
        for thing in scene.things:
            spot = pixels[int(thing.y * scene.height), int(thing.x * scene.width)]
            assert np.abs(spot.astype(int) - thing.rgb).max() <= 2


def test_numbers_cover_0_to_99() -> None:
    numbers = {number_scene(seed, 320, 240).number for seed in range(1500)}
    assert numbers == set(range(100))
    scene = number_scene(3, 320, 240, number=42)
    assert [d.kind for d in scene.digits] == ["4", "2"]


def test_examples_are_large_and_named_apart() -> None:
    examples = example_pictures()
    assert 4 <= len(examples) <= 6
    assert len({name for name, *_ in examples}) == len(examples)
    assert all(picture.size == (768, 576) for _, picture, _, _ in examples)
