"""Pictures to begin with, each with a question in every language."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen_ui.demo_model.scenes import example_pictures


@dataclass(frozen=True, slots=True)
class Example:
    """A picture file and what to ask about it, by language."""

    picture: Path
    questions: dict[str, str]


def draw_examples(folder: Path) -> tuple[Example, ...]:
    """Draw the pictures into `folder`. Raises OSError when it cannot be written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    examples = []
    for name, picture, english, chinese in example_pictures():
        path = folder / f"{name}.png"
        scratch = path.with_name(f"{path.name}.part")
        picture.save(scratch, "PNG")
        scratch.replace(path)
        examples.append(Example(path, {"en": english, "zh": chinese}))
    return tuple(examples)
