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


# Kinds of question by weight. Binding a word to a place comes from few objects and short
# answers, so the first language stage asks mostly for those.
_BIND = {
    "shape": 0.6, "colour": 1.0, "count": 1.0, "colour_of": 3.0, "shape_of": 3.0, "count_of": 1.5,
    "exists": 2.0, "describe": 2.0, "number": 1.0, "position": 2.0, "relation": 0.5,
    "compare": 0.7, "box": 1.5, "boxes": 0.5, "stranger": 1.0,
}  # fmt: skip
_CORE = _BIND | {
    "stranger": 0.5, "box": 0.3, "boxes": 0.15, "relation": 0.15, "compare": 0.3, "position": 1.5,
}  # fmt: skip
_ALL = {
    "shape": 0.6, "colour": 0.7, "count": 1.8, "colour_of": 2.5, "shape_of": 2.5, "count_of": 3.0,
    "exists": 2.5, "describe": 2.5, "number": 1.0, "position": 2.0, "relation": 1.0,
    "compare": 1.2, "box": 0.6, "boxes": 0.4, "stranger": 1.0,
}  # fmt: skip

_LAST = {
    "shape": 0.5, "colour": 0.4, "count": 1.2, "colour_of": 2.5, "shape_of": 3.0, "count_of": 3.0,
    "exists": 3.0, "describe": 3.5, "number": 1.0, "position": 2.5, "relation": 0.15,
    "compare": 0.3, "box": 0.15, "boxes": 0.05, "stranger": 0.6,
}  # fmt: skip

SEE = Stage(
    "see",
    Mix(objects={1: 2, 2: 3, 3: 3, 4: 2}, kinds={}, numbers=0.35, pictures=64),
    steps=1200, lr=2e-3, auxiliary=1.0,
)  # fmt: skip
BIND = Stage(
    "bind",
    Mix(objects={0: 0.1, 1: 2, 2: 3}, kinds=_BIND, thinking=0.2),
    steps=1000, cut=500, lr=1.5e-3, auxiliary=1.0, vision=0.3,
)  # fmt: skip
FOCUS = Stage(
    "focus",
    Mix(
        objects={0: 0.1, 1: 2, 2: 3}, kinds=_CORE, thinking=0.12, strange=0.05, no_picture=0.02,
        numbers=0.12,
    ),
    steps=800, cut=250, lr=1.5e-3, auxiliary=0.6, vision=0.3, last_lr=0.3,
)  # fmt: skip
WIDEN = Stage(
    "widen",
    Mix(
        objects={0: 0.15, 1: 1.8, 2: 4, 3: 3.5, 4: 0.4}, kinds=_ALL, thinking=0.2,
        strange=0.06, no_picture=0.03, numbers=0.16, turns=0.07, two_pictures=0.03,
        pictures=42, length=168,
    ),
    steps=1150, cut=300, lr=1.5e-3, auxiliary=0.6, vision=0.6, last_lr=0.02,
)  # fmt: skip
POLISH = Stage(
    "polish",
    Mix(
        objects={0: 0.1, 1: 1.2, 2: 4, 3: 4.5}, kinds=_LAST, thinking=0.2, strange=0.05,
        no_picture=0.02, numbers=0.13, turns=0.04, two_pictures=0.02, pictures=42, length=168,
    ),
    steps=800, lr=1.5e-3, auxiliary=0.5, vision=0.5, last_lr=0.02,
)  # fmt: skip
SETTLE = Stage(
    "settle", replace(POLISH.mix, thinking=0.45),
    steps=230, cut=200, lr=5e-4, auxiliary=0.3, vision=0.5, last_lr=0.02,
)  # fmt: skip
STAGES = (SEE, BIND, FOCUS, WIDEN, POLISH, SETTLE)
