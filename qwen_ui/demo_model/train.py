"""Trains the demo model from nothing: `python -m qwen_ui.demo_model.train`.

Stages follow one another: the vision tower alone, then language over ever wider scenes, each
from fixed seeds. `--quick` runs a few steps of each, to see that everything holds together.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Qwen2Tokenizer

from qwen_ui.demo_model import VARIANTS, WEIGHTS
from qwen_ui.demo_model.architecture import Size, build_model
from qwen_ui.demo_model.batches import Batches
from qwen_ui.demo_model.export import export
from qwen_ui.demo_model.heads import Heads
from qwen_ui.demo_model.learner import Learner
from qwen_ui.demo_model.optimizer import Average, Optimizer
from qwen_ui.demo_model.stages import STAGES, Stage
from qwen_ui.demo_model.tokenizer import train_tokenizer


class Trainer:
    def __init__(self, folder: Path, size: Size | None = None, samples: int = 12000) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.tokenizer = self._tokenizer(samples)
        model = build_model(self.tokenizer, size)
        config = model.config
        heads = Heads(
            config.vision_config.hidden_size, config.text_config.hidden_size, self.tokenizer
        )
        self.learner = Learner(model, heads)
        self.average = Average(model)
        self._scores: dict[str, float] = defaultdict(float)

    def _tokenizer(self, samples: int) -> Any:
        """The folder's own if training goes on: the corpus may have changed since."""
        folder = self.folder / "tokenizer"
        if folder.exists():
            return Qwen2Tokenizer.from_pretrained(folder)
        tokenizer = train_tokenizer(samples)
        tokenizer.save_pretrained(folder)
        return tokenizer

    def run(self, stage: Stage, workers: int) -> None:
        data = Batches(self.tokenizer, stage.mix, stage.steps, stage.name)
        loader = DataLoader(
            data, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
        )
        optimizer = Optimizer(self.learner, stage.vision)
        self.learner.train()
        self.learner.lean(True)
        started = time.monotonic()
        for step, batch in enumerate(loader):
            loss, scores = self.learner(batch, stage.auxiliary)
            loss.backward()
            optimizer.step(self._rate(stage, step))
            self.average.update(self.learner.model, step)
            self._note(scores)
            if step % 25 == 24:
                self._report(stage, step, time.monotonic() - started)
            last = step + 1 == min(stage.cut or stage.steps, stage.steps)
            if step % 100 == 99 or last:
                self.save(stage.name)
            if last:
                break
        self.learner.lean(False)

    @staticmethod
    def _rate(stage: Stage, step: int) -> float:
        warm = min(1.0, (step + 1) / 40)
        fall = 0.5 + 0.5 * math.cos(math.pi * step / stage.steps)
        return stage.lr * warm * (stage.last_lr + (1 - stage.last_lr) * fall)

    def _note(self, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            old = self._scores.get(name, value)
            self._scores[name] = 0.9 * old + 0.1 * value

    def _report(self, stage: Stage, step: int, seconds: float) -> None:
        scores = " ".join(f"{k} {v:.3f}" for k, v in sorted(self._scores.items()))
        print(f"{stage.name} {step + 1}/{stage.steps} {seconds:.0f}s {scores}", flush=True)

    def save(self, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"learner": self.learner.state_dict(), "average": self.average.state()}
        partial = self.folder / f"{name}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / f"{name}.pt")

    def load(self, names: Sequence[str]) -> None:
        """Go on from the checkpoint of a stage, or from the mean of several: of their averaged
        weights, with the heads of the last."""
        states = [torch.load(self.folder / f"{name}.pt") for name in names]
        self.learner.load_state_dict(states[-1]["learner"])
        averages = [state["average"] for state in states]
        if len(states) > 1:
            mean = {k: torch.stack([a[k] for a in averages]).mean(0) for k in averages[0]}
            self.learner.model.load_state_dict(mean)
            averages = [mean]
        self.average.weights = averages[0]

    def export(self, folder: Path) -> None:
        for variant in VARIANTS:
            export(
                self.learner.model, self.average.state(), self.tokenizer, variant, folder / variant
            )


def quick(stage: Stage) -> Stage:
    """A few small steps, to see that everything holds together."""
    return replace(stage, mix=replace(stage.mix, pictures=4), steps=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/demo_model"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    parser.add_argument("--quick", action="store_true", help="a smoke run; exports to FOLDER")
    parser.add_argument(
        "--begin", choices=[s.name for s in STAGES], default=STAGES[0].name,
        help="go on with this stage, from the checkpoint that it begins from",
    )  # fmt: skip
    parser.add_argument("--export-only", help="export this stage's checkpoint and stop")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    trainer = Trainer(args.folder)
    if args.compile:
        trainer.learner.compile_text()
    if args.export_only:
        trainer.load([args.export_only])
    else:
        names = [s.name for s in STAGES]
        first = names.index(args.begin)
        for place, stage in enumerate(STAGES[first:], first):
            if place:
                trainer.load(stage.after or [names[place - 1]])
            trainer.run(quick(stage) if args.quick else stage, args.workers)
    trainer.export(args.folder if args.quick else WEIGHTS)


if __name__ == "__main__":
    main()
