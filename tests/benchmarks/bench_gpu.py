"""The engine on a GPU at the sizes of real models, with random weights in bfloat16.

    python -m tests.benchmarks.bench_gpu [--quick] [--json] [--sizes 4B 8B] [--pairs 1000]
        [--part times|bits]

Nothing is downloaded: the architectures are those of Qwen3-VL-4B and -8B. Seconds by the clock.

1. The card's bandwidth: a large copy, bytes read and written.
2. Decoding: tokens a second of a 128-token answer about a 1024 x 1024 picture by each way of ours,
   beside the limit: the weights that a token reads, over that bandwidth.
3. The table of bench_prefix, with `generate()`: time to the first token and to the whole answer.
4. Bits: pairs of a random picture and question, asked cold and asked warm (a question before, the
   features known, or prepared); all logits of all tokens are compared. Two processes do it, which
   must also agree on some answers that both ask for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from qwen_ui.engines.base import EngineSpec, GenerationRequest, Job, Sampling
from qwen_ui.engines.decoding import EAGER, GRAPH, TRITON, resolve_decoding
from qwen_ui.engines.identity import Placement, resolve_spec
from qwen_ui.engines.processor import load_processor
from qwen_ui.engines.sampler import Sampler
from qwen_ui.engines.transformers import TransformersEngine
from qwen_ui.types import Image, Message
from tests.benchmarks.reporting import Goal, conclude, table
from tests.benchmarks.reuse import HEADS, TOKENS, Ways, asked, never_ends
from tests.engines.tiny import byte_tokenizer, picture, published_config

BITS_TOKENS = 8  # of the answers whose bits are compared
QUESTIONS = 10  # about each picture


def main() -> int:
    options = _arguments()
    if not torch.cuda.is_available():
        print("There is no CUDA device here; nothing was measured.")
        return 0
    if options.child is not None:
        print(json.dumps(_child(options.sizes[0], options.decoding, options.child, options.pairs)))
        return 0
    card = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    bandwidth = _bandwidth()
    print(f"card: {card}; a copy moves {bandwidth / 1e12:.2f} TB/s")
    rows, goals = {}, []
    for size in options.sizes if options.part != "bits" else ():
        rows[size], found = _timed(size, bandwidth, options)
        goals += found
    if options.pairs and options.part != "times":
        goals += _compared(options)
    return conclude(goals, options.json, card=card, bandwidth=bandwidth, rows=rows)


def _timed(
    size: str, bandwidth: float, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[Goal]]:
    with _model(size) as (model, folder):
        read = _bytes_a_token(model)
        limit = bandwidth / read
        print(f"\n{size}: {read / 1e9:.2f} GB of weights a token; at most {limit:.0f} tokens/s")
        print(f"memory with weights: {torch.cuda.memory_allocated() / 1e9:.2f} GB")
        ways = _ways_to_decode(folder, options.decoding)
        decoding = [_decoding(model, folder, way, limit) for way in ways]
        print(table(decoding))
        with _engine(model, folder, ways[-1]) as engine:
            asking = Ways(engine, time.perf_counter)
            rounds = 1 if options.quick else 3  # a first one also reserves memory
            if options.quick or size != options.sizes[0]:
                asking.row(256, turns=1, rounds=1)  # warms up
                rows = [asking.row(1024, 1, rounds)]
            else:
                rows = [asking.row(edge, 1, rounds) for edge in (256, 1024, 2048)]
                rows.append(asking.row(1024, 2, rounds))
            print(table([{k: v for k, v in row.items() if k in HEADS} for row in rows]))
            print(f"memory at most: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB", flush=True)
    row = next(row for row in rows if row["picture"] == 1024 and row["turns"] == 1)
    cold = row["cold: first"] / row["prefix: first"]
    return rows, [
        Goal(f"{size}: decoding, of the limit", decoding[-1]["of the limit"], 0.6, "", True),
        Goal(f"{size}: first token, plain / prefix known", row["plain / prefix"], 3, "x", True),
        Goal(f"{size}: first token, cold / prefix known", cold, 3, "x", True),
        Goal(f"{size}: whole answer, cold / plain", row["cold / plain"], 1.05, "x"),
    ]


def _compared(options: argparse.Namespace) -> list[Goal]:
    """Two processes for each size, each with its own pairs and with some that both have."""
    each = options.pairs // (2 * len(options.sizes))
    threads = max(1, (os.cpu_count() or 1) // (2 * len(options.sizes)))
    began = time.perf_counter()
    children = {
        size: [_start_child(size, options.decoding, seed, each, threads) for seed in (1, 2)]
        for size in options.sizes
    }
    goals = []
    for size, processes in children.items():
        found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
        differ, pairs = (sum(one[name] for one in found) for name in ("differ", "pairs"))
        digests = len({one["digest"] for one in found})
        goals.append(Goal(f"{size}: differing pairs of {pairs}", differ, 1, ""))
        goals.append(Goal(f"{size}: different digests of two processes", digests, 2, ""))
    print(f"compared in {time.perf_counter() - began:.0f} s")
    return goals


def _start_child(
    size: str, decoding: str, seed: int, pairs: int, threads: int
) -> subprocess.Popen[str]:
    given = {"sizes": size, "decoding": decoding, "child": seed, "pairs": pairs}
    flags = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.benchmarks.bench_gpu", *flags]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def _child(size: str, decoding: str, seed: int, pairs: int) -> dict[str, object]:
    with _model(size) as (model, folder):
        way = _ways_to_decode(folder, decoding)[-1]
        with _engine(model, folder, way) as engine:
            digest = _digest(engine)
            compared, differ = _pairs(engine, pairs, seed)
    return {"pairs": compared, "differ": differ, "digest": digest}


# --- decoding ----------------------------------------------------------------------------------


def _bandwidth() -> float:
    """Bytes a second that a copy within the card reads and writes."""
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1000)
    return 2 * source.nbytes / best


def _bytes_a_token(model: Any) -> int:
    """All that a step must read: the text layers and the head; of the embedding, a row."""
    text = model.model.language_model
    read = [*text.layers.parameters(), *text.norm.parameters(), model.lm_head.weight]
    return sum(parameter.nbytes for parameter in read)


def _ways_to_decode(folder: Path, last: str) -> list[str]:
    """As identities have them; the last one is what is measured further."""
    config = json.loads((folder / "config.json").read_text())
    ways = (EAGER, GRAPH, TRITON)
    chosen = ways if last == "auto" else ways[: ways.index(last) + 1]
    return [resolve_decoding("m", way, config, "cuda:0", "none") for way in chosen]


def _decoding(model: Any, folder: Path, decoding: str, limit: float) -> dict[str, Any]:
    with _engine(model, folder, decoding) as engine:
        ways, image = Ways(engine, time.perf_counter), picture(0, (1024, 1024))
        began = time.perf_counter()
        ways.ours(asked(image), tokens=2)
        first_use = time.perf_counter() - began
        taken = [ways.ours(asked(image)) for _ in range(2 if decoding == EAGER else 5)]
        ours = statistics.median(map(_rate, taken))
    return {
        "decoding": decoding,
        "tokens/s": ours,
        "of the limit": ours / limit,
        "first use: s": first_use,
    }


def _rate(taken: tuple[float, float]) -> float:
    return (TOKENS - 1) / (taken[1] - taken[0])


# --- bits --------------------------------------------------------------------------------------


def _pairs(engine: TransformersEngine, count: int, seed: int) -> tuple[int, int]:
    """(compared, differing)."""
    random = Random(seed)
    compared = differ = 0
    for number in range(-(-count // QUESTIONS)):
        size = (random.randrange(96, 1024), random.randrange(96, 1024))
        image = picture(1000 * seed + number, size)
        questions = [_question(random) for _ in range(min(QUESTIONS, count - compared))]
        cold = []
        for question in questions:
            engine.forget()
            cold.append(_logits(engine, image, question))
        for turn, (question, wanted) in enumerate(zip(questions, cold, strict=True)):
            _make_warm(engine, image, turn % 3)
            compared += 1
            differ += not torch.equal(_logits(engine, image, question), wanted)
    return compared, differ


def _make_warm(engine: TransformersEngine, image: Image, way: int) -> None:
    if way == 0:  # another question was asked: nothing is forgotten
        return
    engine.forget()
    if way == 1:
        _logits(engine, image, "Another one", tokens=1)
        Ways(engine, time.perf_counter).forget_prefixes()
    else:
        _prefill(engine, image, "").prepare()


def _prefill(engine: TransformersEngine, image: Image, question: str) -> Any:
    return engine._prefill(*_prompt_and_job(engine, image, question))


def _prompt_and_job(engine: TransformersEngine, image: Image, question: str) -> tuple[Any, Job]:
    messages = (Message("user", (image, question)),)
    job = Job(GenerationRequest(messages, Sampling(), BITS_TOKENS), lambda event: None)
    return engine._prompt(job), job


def _logits(
    engine: TransformersEngine, image: Image, question: str, tokens: int = BITS_TOKENS
) -> torch.Tensor:
    """[tokens, vocabulary], by the engine's own path on this thread."""
    prompt, job = _prompt_and_job(engine, image, question)
    filled = engine._prefill(prompt, job).run()
    found = engine._tokens(filled, prompt, Sampler(Sampling(), engine._suppressed), job)
    return torch.stack([logits for _, logits in islice(found, tokens)])


def _question(random: Random) -> str:
    letters = "abcdefghij klmnopqrstuvwxyz? "
    return "".join(random.choices(letters, k=random.randrange(4, 60)))


def _digest(engine: TransformersEngine) -> str:
    """SHA-256 over the logits of some answers."""
    total = hashlib.sha256()
    for number in range(4):
        logits = _logits(engine, picture(number, (300 + number, 200)), f"Question {number}")
        total.update(logits.view(torch.uint8).cpu().numpy().tobytes())
    return total.hexdigest()


# --- models ------------------------------------------------------------------------------------


@contextmanager
def _model(size: str) -> Iterator[tuple[Any, Path]]:
    """A model of random weights on the card, and a folder with its small files."""
    tokenizer = byte_tokenizer(thinking=False, size=151_936)
    config = published_config(size, tokenizer)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = Qwen3VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(torch.float32)
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        config.save_pretrained(name)
        tokenizer.save_pretrained(name)
        Qwen2VLImageProcessorPil(
            size={"shortest_edge": 64 * 64, "longest_edge": 2048 * 2048},
            patch_size=16,
            merge_size=2,
            temporal_patch_size=2,
        ).save_pretrained(name)
        yield model.eval(), Path(name)
    del model
    torch.cuda.empty_cache()


@contextmanager
def _engine(model: Any, folder: Path, decoding: str) -> Iterator[TransformersEngine]:
    spec: EngineSpec = resolve_spec(
        "random", folder, "r", Placement(device="cuda:0", dtype="bfloat16"), source=str(folder)
    )
    spec = replace(spec, decoding=decoding)
    processor = load_processor(folder, min_pixels=spec.min_pixels, max_pixels=spec.max_pixels)
    engine = TransformersEngine(spec, model, processor)
    never_ends(engine)
    try:
        yield engine
    finally:
        engine.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the engine on a GPU at the sizes of real models")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on a line")
    parser.add_argument("--sizes", nargs="+", default=["4B", "8B"], help="4B, 8B or small")
    parser.add_argument("--pairs", type=int, default=1000, help="whose bits are compared")
    parser.add_argument(
        "--part",
        choices=("all", "times", "bits"),
        default="all",
        help="1 to 3 are times, 4 is bits",
    )
    parser.add_argument("--decoding", default="auto", help="eager, graph or triton; auto: the last")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.pairs = options.sizes[:1], min(options.pairs, 60)
    return options


if __name__ == "__main__":
    raise SystemExit(main())
