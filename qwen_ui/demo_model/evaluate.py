"""`python -m qwen_ui.demo_model.evaluate` asks the shipped weights about new pictures.

The path is the one that users get: `generate()` behind the real processor, on pictures of other
sizes than in training, JPEG-compressed, in wordings that training did not see.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import torch
from PIL import Image
from transformers import Qwen3VLForConditionalGeneration

from qwen_ui.demo_model import VARIANTS
from qwen_ui.demo_model.questions import KINDS, Question, ask
from qwen_ui.demo_model.scenes import Scene, number_scene, shapes_scene, strange_scene
from qwen_ui.demo_model.words import Language
from qwen_ui.engines.processor import load_processor

SIZES = (
    (640, 480),
    (480, 640),
    (800, 600),
    (512, 512),
    (1024, 576),
    (600, 400),
    (300, 240),
    (900, 700),
)
FIRST_SEED = 1 << 50  # training draws its seeds below 2^40


@dataclass(frozen=True)
class Case:
    kind: str
    scene: Scene | None
    question: Question
    picture: Image.Image | None
    before: Question | None = None  # asked and rightly answered earlier, about the same picture


@dataclass(frozen=True)
class Score:
    kind: str
    language: Language
    objects: int  # 0 where it does not matter
    asked: int
    right: float  # share of answers that are exactly right
    iou: float | None = None


class Chat:
    """One variant, one question at a time."""

    def __init__(self, folder: Path) -> None:
        self.processor = load_processor(folder)
        self.model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()

    def say(self, messages: list[dict[str, Any]]) -> str:
        """Everything that the model writes, thoughts included."""
        inputs = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt", sanitize_control_tokens=True,
        )  # fmt: skip
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=400)
        text: str = self.processor.tokenizer.decode(
            ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return text

    def ask(
        self, picture: Image.Image | None, text: str, before: tuple[str, str] | None = None
    ) -> str:
        """The answer alone; `before` is an earlier question about the picture, and its answer."""
        messages = [turn(picture, text)]
        if before is not None:
            question, answer = before
            said = {"role": "assistant", "content": answer}
            messages = [turn(picture, question), said, turn(None, text)]
        return self.say(messages).split("</think>")[-1].strip()


def turn(picture: Image.Image | None, text: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if picture is not None:
        content.insert(0, {"type": "image", "image": picture})
    return {"role": "user", "content": content}


def as_sent(scene: Scene, rng: Random) -> Image.Image:
    """The picture as a user's file: scaled from another size, then JPEG."""
    picture = scene.draw()
    factor = rng.uniform(0.6, 1.5)
    size = round(picture.width * factor), round(picture.height * factor)
    data = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(data, "JPEG", quality=rng.randint(50, 92))
    return Image.open(data).convert("RGB")


def _scene(kind: str, objects: int, seed: int, rng: Random) -> Scene | None:
    size = rng.choice(SIZES)
    match kind:
        case "number":
            return number_scene(seed, *size)
        case "strange":
            return strange_scene(seed, *size)
        case "no picture":
            return None
        case _:
            return shapes_scene(seed, *size, objects)


def cases(kind: str, objects: int, language: Language, samples: int) -> Iterator[Case]:
    """New scenes and unseen wordings; the same for every call."""
    rng = Random(f"evaluate {kind} {objects} {language}")
    seed, made = FIRST_SEED + rng.randrange(1 << 40), 0
    while made < samples:
        seed += 1
        scene = _scene(kind, objects, seed, rng)
        if scene is not None and len(scene.things) != objects:
            continue
        asked, before = kind, None
        if kind in ("strange", "no picture"):
            asked = rng.choice(KINDS[:-1])
        elif kind == "follow-up":
            before_that, asked = rng.sample(CORE, 2)
            before = ask(before_that, scene, language, rng, held_out=True)
        question = ask(asked, scene, language, rng, held_out=True)
        if question is not None and (before is not None or kind != "follow-up"):
            made += 1
            yield Case(kind, scene, question, as_sent(scene, rng) if scene else None, before)


def boxes_of(answer: str) -> list[tuple[float, ...]] | None:
    """The boxes of an answer in Qwen3-VL's form, or None where it is not in that form."""
    text = answer.strip().removeprefix("```json").removesuffix("```")
    try:
        return [tuple(map(float, item["bbox_2d"])) for item in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        return None


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, wide) * max(0.0, high)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / area if area > 0 else 0.0


def _iou(question: Question, answer: str) -> float:
    found = boxes_of(answer) or []
    if len(found) != len(question.boxes) or any(len(box) != 4 for box in found):
        return 0.0
    return mean(overlap(a, b) for a, b in zip(found, question.boxes, strict=True))


def right_answer(question: Question, thinking: bool) -> str:
    return question.full if thinking else question.short


def score(chat: Chat, group: list[Case], objects: int, thinking: bool, wrong: list[str]) -> Score:
    hits, ious = 0, []
    for case in group:
        before = case.before
        earlier = (before.text, right_answer(before, thinking)) if before is not None else None
        answer = chat.ask(case.picture, case.question.text, earlier)
        wanted = right_answer(case.question, thinking)
        if case.question.boxes:
            ious.append(_iou(case.question, answer))
        good = ious[-1] >= 0.5 if case.question.boxes else answer == wanted
        hits += good
        if not good:
            wrong.append(
                f"{case.kind} {objects}: {case.question.text!r} -> {answer!r}, not {wanted!r}"
            )
    language = group[0].question.language
    iou = mean(ious) if ious else None
    return Score(group[0].kind, language, objects, len(group), hits / len(group), iou)


CORE = ("count", "colour_of", "shape_of", "count_of", "exists", "describe")  # of several things

# Kind of question, and how many objects it is asked about.
PLAN: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("shape", (1,)), ("colour", (1,)), ("count", (1, 2, 3)), ("colour_of", (1, 2, 3)),
    ("shape_of", (1, 2, 3)), ("count_of", (1, 2, 3)), ("exists", (1, 2, 3)),
    ("describe", (1, 2, 3)), ("number", (0,)), ("follow-up", (2, 3)), ("stranger", (2,)),
    ("strange", (0,)), ("no picture", (0,)), ("box", (1, 2, 3)), ("boxes", (1, 2, 3)),
    ("position", (1, 2, 3)), ("relation", (2, 3)), ("compare", (2, 3)),
)  # fmt: skip


def evaluate(
    variant: str, samples: int, wrong: list[str], folder: Path | None = None
) -> Iterator[Score]:
    torch.manual_seed(0)
    chat = Chat(folder or VARIANTS[variant])
    for kind, counts in PLAN:
        for objects in counts:
            for language in ("en", "zh"):
                group = list(cases(kind, objects, language, samples))
                yield score(chat, group, objects, variant == "demo-thinking", wrong)


def table(scores: list[Score]) -> str:
    """Markdown: one row a kind, English and Chinese apart."""
    cells = {(s.kind, s.objects, s.language): s for s in scores}
    lines = ["| kind | objects | English | Chinese |", "|---|---|---|---|"]

    def cell(s: Score) -> str:
        return f"{100 * s.right:.1f}" + (f" (IoU {s.iou:.2f})" if s.iou is not None else "")

    for kind, objects in dict.fromkeys((s.kind, s.objects) for s in scores):
        en, zh = cells[kind, objects, "en"], cells[kind, objects, "zh"]
        lines.append(f"| {kind} | {objects or '-'} | {cell(en)} | {cell(zh)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=40, help="questions per row and language")
    parser.add_argument("--variant", choices=list(VARIANTS), default="demo")
    parser.add_argument("--folder", type=Path, help="weights elsewhere")
    parser.add_argument("--json", action="store_true", help="scores as JSON")
    parser.add_argument("--wrong", action="store_true", help="print the wrong answers too")
    args = parser.parse_args()
    wrong: list[str] = []
    scores = list(evaluate(args.variant, args.samples, wrong, args.folder))
    print(json.dumps([asdict(s) for s in scores]) if args.json else table(scores))
    if args.wrong:
        print("\n".join(wrong))


if __name__ == "__main__":
    main()
