"""The curriculum: what each stage shows, for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qwen_ui.demo_model.batches import Mix


@dataclass(frozen=True)
class Stage:
    name: str
    mix: Mix
    steps: int
    lr: float
    auxiliary: float  # weight of the vision heads' loss
    vision: float = 1.0  # share of `lr` for the vision tower
    last_lr: float = 0.1  # share of `lr` that the cosine ends at
    cut: int | None = None  # stop here, before the cosine is through
    # begins from this stage, or from the mean of several; none: from the one listed before. A mean
    # of runs that part keeps what each is good at (Wortsman and others, "Model soups", 2022)
    after: tuple[str, ...] = ()


# Kinds of question by weight. Binding a word to a place comes from few objects and short answers,
# so the first language stage asks for nothing else. Boxes are long: a few are enough to keep
# their form, and more would crowd out the rest.
_BIND = {
    "shape": 0.6, "colour": 0.7, "count": 1.2, "colour_of": 3.0, "shape_of": 3.0, "count_of": 2.5,
    "exists": 2.5, "describe": 2.0, "number": 1.0, "position": 1.5, "stranger": 0.7,
}  # fmt: skip
_WIDEN = _BIND | {
    "describe": 2.5, "position": 2.0, "compare": 0.8, "relation": 0.3, "box": 0.5, "boxes": 0.1,
}  # fmt: skip
_POLISH = {
    "shape": 0.6, "colour": 0.5, "count": 1.2, "colour_of": 2.0, "shape_of": 2.5, "count_of": 4.0,
    "exists": 3.5, "describe": 3.5, "number": 1.0, "position": 2.0, "compare": 0.6,
    "relation": 0.3, "box": 0.4, "boxes": 0.1, "stranger": 0.8,
}  # fmt: skip

SEE = Stage(
    "see",
    Mix(objects={1: 2, 2: 3, 3: 3, 4: 2}, kinds={}, numbers=0.35, pictures=56),
    steps=1000, lr=2e-3, auxiliary=1.0, last_lr=0.3,
)  # fmt: skip
BIND = Stage(
    "bind",
    Mix(
        objects={0: 0.1, 1: 2, 2: 3}, kinds=_BIND, thinking=0.04, strange=0.05, no_picture=0.02,
        numbers=0.12, pictures=28, length=192, drafts=3,
    ),
    steps=700, cut=500, lr=1.5e-3, auxiliary=1.0, vision=0.4, last_lr=0.8,
)  # fmt: skip
WIDEN = Stage(
    "widen",
    Mix(
        objects={0: 0.12, 1: 1.2, 2: 3, 3: 3.5, 4: 0.3}, kinds=_WIDEN, thinking=0.12,
        strange=0.05, no_picture=0.02, numbers=0.13, turns=0.05, two_pictures=0.03,
        pictures=28, length=192, drafts=2,
    ),
    steps=700, lr=1.5e-3, auxiliary=0.8, vision=0.6, last_lr=0.6,
)  # fmt: skip
POLISH = Stage(
    "polish",
    Mix(
        objects={0: 0.1, 1: 1, 2: 3, 3: 4.5}, kinds=_POLISH, thinking=0.22, strange=0.05,
        no_picture=0.02, numbers=0.13, turns=0.04, two_pictures=0.02, pictures=28, length=192,
    ),
    steps=900, lr=1.2e-3, auxiliary=0.5, vision=0.6, last_lr=0.02,
)  # fmt: skip
SETTLE = Stage(
    "settle",
    replace(
        POLISH.mix, objects={1: 0.6, 2: 2.5, 3: 5}, kinds=_POLISH | {"count_of": 14.0},
        numbers=0.2,
    ),
    steps=300, lr=7e-4, auxiliary=0.5, vision=0.6, last_lr=0.02,
)  # fmt: skip
CONVERSE = Stage(
    "converse",
    replace(SETTLE.mix, turns=0.35, thinking=0.3, numbers=0.24),
    steps=300, lr=6e-4, auxiliary=0.5, vision=0.6, last_lr=0.02,
)  # fmt: skip
SPREAD = Stage(
    "spread",
    replace(
        CONVERSE.mix, turns=0.3,
        kinds=_POLISH
        | {"shape": 3.0, "colour": 1.0, "count_of": 14.0, "describe": 4.5, "position": 3.0}
        | {"stranger": 1.3},
    ),
    steps=450, lr=7e-4, auxiliary=0.5, vision=0.6, last_lr=0.02, after=("settle",),
)  # fmt: skip
FOLLOW = Stage(
    "follow",
    replace(SPREAD.mix, turns=0.5),
    steps=200, lr=4e-4, auxiliary=0.5, vision=0.6, last_lr=0.02,
)  # fmt: skip
SHARPEN = Stage(
    "sharpen",
    replace(
        SPREAD.mix, objects={1: 0.6, 2: 2.5, 3: 6}, turns=0.25,
        kinds=_POLISH
        | {"shape": 2.5, "colour": 1.0, "count_of": 16.0, "describe": 4.5, "position": 4.0}
        | {"stranger": 2.0},
    ),
    steps=600, lr=5e-4, auxiliary=0.0, vision=0.6, last_lr=0.02, after=("converse", "follow"),
)  # fmt: skip
STAGES = (SEE, BIND, WIDEN, POLISH, SETTLE, CONVERSE, SPREAD, FOLLOW, SHARPEN)
