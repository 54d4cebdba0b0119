"""The Qwen3-VL models that are published: their names on the hub, and what their weights weigh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OWNER = "Qwen"


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters, counted by building each published architecture without memory (torch's meta
    device). `linear` of them are the text layers' matrices, which the FP8 editions keep in a byte;
    everything else has two."""

    name: str
    parameters: int
    linear: int


SIZES = (
    Size("2B", 2_127_532_032, 1_409_286_144),
    Size("4B", 4_437_815_808, 3_633_315_840),
    Size("8B", 8_767_123_696, 6_945_767_424),
    Size("32B", 33_357_390_064, 31_205_621_760),
    Size("30B-A3B", 31_070_754_032, 29_896_998_912),
    Size("235B-A22B", 235_670_022_896, 233_798_893_568),
)
KINDS = ("Instruct", "Thinking")


@dataclass(frozen=True, slots=True)
class Model:
    """One published model."""

    size: Size
    kind: str
    fp8: bool

    @property
    def hub_name(self) -> str:
        return f"{OWNER}/Qwen3-VL-{self.size.name}-{self.kind}" + ("-FP8" if self.fp8 else "")

    @property
    def weight_bytes(self) -> int:
        """Of the weights as they are published."""
        return 2 * self.size.parameters - (self.size.linear if self.fp8 else 0)


MODELS = tuple(Model(size, kind, fp8) for size in SIZES for kind in KINDS for fp8 in (False, True))

_PREFIX = f"{OWNER}/Qwen3-VL-".lower()


def full_name(name: str) -> str:
    """The hub's name for a short one such as `4b`, `8b-thinking` or `30b-a3b-fp8`; any other name
    as it is. Instruct where no kind is named."""
    return _BY_SHORT_NAME.get(name.lower(), name)


def _short_names(model: Model) -> Iterator[str]:
    whole = model.hub_name.lower().removeprefix(_PREFIX)
    size = model.size.name.lower()
    for name in (whole, whole.replace(size, size.split("-")[0])):
        yield from (name, f"qwen3-vl-{name}", name.replace("-instruct", ""))


_BY_SHORT_NAME = {short: model.hub_name for model in MODELS for short in _short_names(model)}


def published(name: str) -> Model | None:
    """The model of this hub name."""
    return next((model for model in MODELS if model.hub_name == name), None)
