"""Training sees exactly what users' requests make of a picture and a question."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from qwen_ui.demo_model import VARIANTS
from qwen_ui.demo_model.architecture import Size, patches_of
from qwen_ui.demo_model.batches import Batches
from qwen_ui.demo_model.evaluate import turn
from qwen_ui.demo_model.export import export
from qwen_ui.demo_model.grid import grid_of
from qwen_ui.demo_model.questions import Question, ask
from qwen_ui.demo_model.rows import Row, Writer
from qwen_ui.demo_model.scenes import shapes_scene
from qwen_ui.demo_model.stages import SEE, WIDEN
from qwen_ui.demo_model.thoughts import thought
from qwen_ui.demo_model.train import Trainer
from qwen_ui.engines.processor import load_processor

MICRO = Size(vision=32, vision_layers=3, text=64, text_layers=2, mlp=64)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return Trainer(tmp_path_factory.mktemp("train"), MICRO, samples=300)


def test_a_stage_lowers_the_loss_and_saves(trainer: Trainer) -> None:
    mix = replace(WIDEN.mix, pictures=4, length=160)
    batch = Batches(trainer.tokenizer, mix, 8, "same")[0]
    before = trainer.learner(batch, 0.3)[0].item()
    trainer.run(replace(SEE, name="see", mix=replace(SEE.mix, pictures=4), steps=2), 0)
    trainer.run(replace(WIDEN, name="same", mix=mix, steps=8, lr=3e-3), 0)
    assert trainer.learner(batch, 0.3)[0].item() < before
    assert (trainer.folder / "same.pt").exists()


def test_a_batch_follows_from_its_number(trainer: Trainer) -> None:
    mix = replace(WIDEN.mix, pictures=3)
    first, again = (Batches(trainer.tokenizer, mix, 5, "x")[3] for _ in range(2))
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.ids, again.ids)


def test_a_stage_goes_on_from_the_mean_of_those_before(trainer: Trainer) -> None:
    name, weight = next(iter(trainer.average.weights.items()))
    trainer.save("one")
    trainer.average.weights[name] = weight + 2
    trainer.save("two")
    trainer.load(("one", "two"))
    assert torch.allclose(trainer.average.weights[name], weight + 1)
    assert torch.allclose(trainer.learner.model.state_dict()[name], weight + 1)
    trainer.load(("one",))
    assert torch.equal(trainer.average.weights[name], weight)


def test_blocks_do_not_see_each_other(trainer: Trainer) -> None:
    batch = Batches(trainer.tokenizer, replace(WIDEN.mix, pictures=2, jpeg=0), 5, "y")[0]
    other = replace(batch, ids=batch.ids.clone())
    first = other.blocks == 1
    other.ids[first] = 5
    last = (batch.blocks == batch.blocks.max()) & (batch.weights > 0)
    only = replace(batch, weights=batch.weights * last)
    changed = replace(other, weights=batch.weights * last)
    with torch.no_grad():
        a, b = float(trainer.learner(only, 0.0)[0]), float(trainer.learner(changed, 0.0)[0])
    assert a == pytest.approx(b, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_tokens_and_pixels_are_those_of_the_processor(
    variant: str, trainer: Trainer, tmp_path: Path
) -> None:
    export(trainer.learner.model, trainer.average.state(), trainer.tokenizer, variant, tmp_path)
    assert all(f.stat().st_mode & 0o777 == 0o644 for f in tmp_path.iterdir())
    processor = load_processor(tmp_path)
    thinking = variant == "demo-thinking"
    scene = shapes_scene(3, 300, 220, 3)
    past, now = _question("count", "zh"), _question("describe", "en")
    said = f"<think>\nhm\n</think>\n\n{past.full}" if thinking else past.short
    inputs = processor.apply_chat_template(
        [turn(scene.draw(), past.text), {"role": "assistant", "content": said},
         turn(None, now.text)],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    grid = grid_of(300, 220)
    row = _row(trainer.tokenizer, grid, past, now, thinking)
    prompt = inputs["input_ids"][0].tolist()
    assert row.ids[: len(prompt)] == prompt
    answer = processor.tokenizer.decode(row.ids[len(prompt) :])
    thoughts = f"{thought(scene, now)}\n</think>\n\n" if thinking else ""
    assert answer == thoughts + (now.full if thinking else now.short) + "<|im_end|>"
    positions, _ = trainer.learner.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"]
    )
    assert positions[:, 0].T.tolist() == [list(p) for p in row.positions[: len(prompt)]]
    picture = scene.draw().resize((grid[1] * 32, grid[0] * 32), 3)
    mine = patches_of(torch.from_numpy(np.array(picture))[None])
    assert torch.equal(mine, inputs["pixel_values"])


def _question(kind: str, language: Any) -> Question:
    question = ask(kind, shapes_scene(3, 300, 220, 3), language, Random(1))
    assert question is not None
    return question


def _row(
    tokenizer: Any, grid: tuple[int, int], past: Question, now: Question, thinking: bool
) -> Row:
    writer, row, scene = Writer(tokenizer), Row(), shapes_scene(3, 300, 220, 3)
    writer.user(row)
    writer.picture(row, grid)
    row.text(writer.history(past, thinking))
    row.text(writer.next_turn())
    for ids, _ in writer.turn(now, scene, thinking):
        row.text(ids)
    return row
