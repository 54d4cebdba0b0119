"""What reuse saves inside the model: time to the first token, and to a whole answer.

    python -m tests.benchmarks.bench_prefix [--quick] [--json]

A Qwen3-VL of random weights in float32 (19 million: vision 4 layers x 256, text 6 layers x 384):
large enough that arithmetic is what takes the time, small enough to wait for. Processor seconds of
one thread, which others on the machine change little; medians over rounds in which all ways (see
reuse.py) take their turn; every answer has 128 tokens.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.loader import load_engine
from qwen_ui.engines.transformers import TransformersEngine
from tests.benchmarks.reporting import Goal, arguments, conclude, machine, table
from tests.benchmarks.reuse import HEADS, Ways, asked, never_ends
from tests.engines.tiny import picture, save_tiny

VISION = {
    "depth": 4,
    "hidden_size": 256,
    "num_heads": 4,
    "intermediate_size": 1024,
    "out_hidden_size": 384,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [1, 2],
}
TEXT = {
    "hidden_size": 384,
    "intermediate_size": 1152,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [12, 10, 10],
        "mrope_interleaved": True,
    },
}


def main() -> int:
    options = arguments("what reuse saves inside the model")
    print("machine:", machine())
    torch.set_num_threads(1)
    edges = (1024,) if options.quick else (256, 1024, 2048)
    with _engine() as engine:
        ways = Ways(engine, time.process_time)
        ways.plain(asked(picture(0, (256, 256))))  # warms up
        rows = [
            ways.row(edge, turns=1, rounds=1 if options.quick or edge > 1024 else 2)
            for edge in edges
        ]
        if not options.quick:
            rows.append(ways.row(1024, turns=2, rounds=2))
    print(table([{k: v for k, v in row.items() if k in HEADS} for row in rows]))
    return conclude(_goals(rows), options.json, rows=rows)


def _goals(rows: list[dict[str, Any]]) -> list[Goal]:
    row = next(row for row in rows if row["picture"] == 1024 and row["turns"] == 1)
    return [
        Goal("first token, plain / prefix known", row["plain / prefix"], 20, "x", True),
        Goal("first token, plain / features known", row["plain / features"], 4, "x", True),
        Goal("whole answer, cold / plain", row["cold / plain"], 1.05, "x"),
        Goal("decoding, ours / plain", row["decoding, ours / plain"], 1, "x", True),
    ]


@contextmanager
def _engine() -> Iterator[TransformersEngine]:
    with tempfile.TemporaryDirectory() as name:
        folder = save_tiny(Path(name), vision=VISION, text=TEXT, max_pixels=2048 * 2048)
        spec = resolve_spec("random", folder, "r", Placement(device="cpu"), source=name)
        engine = load_engine(spec, folder, lambda fraction: None)
        never_ends(engine)
        yield engine
        engine.close()


if __name__ == "__main__":
    raise SystemExit(main())
