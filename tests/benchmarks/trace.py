"""A trace of requests with a stated re-ask model, since no public trace has (picture, question)
repeats.

67 % of the requests repeat an earlier one, each earlier one equally likely. Half of the repeats
send the same file and the same text. The other half are changed so that the meaning stays: one
third re-save the picture without loss (PNG, BMP, WebP), one third turn its pixels and say so by
EXIF orientation (2 to 8), one third re-word the question by one of `REWORD`. A picture that is
saved as JPEG once more has other pixels: to the model another input, and no repeat.

The questions are those of the VQA lists, without double rows; questions about one picture come
together, so that there is something to confuse. Their pictures are not at hand: each picture id
stands for a part of one of the photos, another part for each id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image

from cache_store.images import decode
from tests.pictures import saved, turned

REPEATS, CHANGED = 0.67, 0.5
SIZE = (320, 240)
KINDS = ("same", "re-saved", "turned", "re-worded")
_BLANK = 4.0  # bits, of `Image.entropy`
_END = "?.!。？"

REWORD: dict[str, Callable[[str], str]] = {
    "outer spaces": lambda text: f"  {text} \n",
    "double spaces": lambda text: text.replace(" ", "  "),
    "lower case": str.lower,
    "upper case": str.upper,
    "no final mark": lambda text: text.rstrip(_END),
    "full-width mark": lambda text: f"{text.rstrip(_END)}？",
    "space before the mark": lambda text: f"{text[:-1]} {text[-1]}",
    "zero-width space": lambda text: text.replace(" ", " \u200b", 1),
    "Please,": lambda text: f"Please, {text[0].lower()}{text[1:]}",
    ", please": lambda text: f"{text.rstrip(_END)}, please?",
    "Hi,": lambda text: f"Hi, {text}",
    "Thanks!": lambda text: f"{text} Thanks!",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A question about a picture, and the answer that people gave."""

    picture: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the row that it means, and what is sent."""

    row: int
    kind: str  # new, or one of KINDS
    data: bytes
    question: str
    how: str = ""  # it was re-worded


class Pictures:
    """The files of a picture. `draw` makes the picture of an id."""

    def __init__(self, draw: Callable[[str], Image.Image]) -> None:
        self._draw = cache(draw)
        self.original = cache(lambda name: saved(self._draw(name), "JPEG", quality=90))
        self._upright = cache(lambda name: decode(self.original(name), 2**24))

    def resaved(self, name: str, chance: Random) -> bytes:
        kind, options = chance.choice([("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
        return saved(self._upright(name), kind, **options)

    def turned(self, name: str, chance: Random) -> bytes:
        return turned(self._upright(name), chance.randint(2, 8))


def read_rows(data: Path, count: int, seed: int = 0) -> list[Row]:
    """`count` different questions, in an order of their own."""
    by_picture: dict[str, dict[str, Row]] = {}
    for file in sorted((data / "questions").glob("vqa_*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            row = Row(fields["image"], fields["question"], str(fields["answer"]))
            by_picture.setdefault(row.picture, {})[row.question] = row
    chance = Random(seed)
    pictures = sorted(by_picture)
    chance.shuffle(pictures)
    rows = [row for picture in pictures for row in by_picture[picture].values()][:count]
    chance.shuffle(rows)
    return rows


def parts_of_photos(data: Path) -> Callable[[str], Image.Image]:
    """The picture of an id: a part of one of the photos. Two empty parts would be one picture, and
    a page of text has many, so they are passed over."""
    photos = []
    for file in sorted((data / "images" / "photos").iterdir()):
        photos.append(decode(file.read_bytes(), 2**26))

    def draw(name: str) -> Image.Image:
        chance = Random(name)
        while (part := _part(chance.choice(photos), chance)).entropy() < _BLANK:
            pass
        return part

    return draw


def _part(photo: Image.Image, chance: Random) -> Image.Image:
    scale = chance.uniform(max(SIZE[0] / photo.width, SIZE[1] / photo.height), 1.0)
    wide, high = int(SIZE[0] / scale), int(SIZE[1] / scale)
    left = chance.randint(0, photo.width - wide)
    top = chance.randint(0, photo.height - high)
    return photo.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + wide, top + high))


def make_trace(
    rows: Sequence[Row], pictures: Pictures, length: int, seed: int = 0
) -> Iterator[Asked]:
    """Requests by the re-ask model. Ends early when the rows are used up."""
    chance, asked = Random(seed), 0
    for _ in range(length):
        if asked and chance.random() < REPEATS:
            yield _again(chance.randrange(asked), rows, pictures, chance)
        elif asked < len(rows):
            row = rows[asked]
            yield Asked(asked, "new", pictures.original(row.picture), row.question)
            asked += 1
        else:
            return


def _again(number: int, rows: Sequence[Row], pictures: Pictures, chance: Random) -> Asked:
    row = rows[number]
    kind = chance.choice(KINDS[1:]) if chance.random() < CHANGED else "same"
    data, question, how = pictures.original(row.picture), row.question, ""
    match kind:
        case "re-saved":
            data = pictures.resaved(row.picture, chance)
        case "turned":
            data = pictures.turned(row.picture, chance)
        case "re-worded":
            how = chance.choice(list(REWORD))
            question = REWORD[how](question)
    return Asked(number, kind, data, question, how)
