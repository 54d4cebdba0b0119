"""A trace with the embedded model: each request once through the cache and once past it."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from random import Random
from typing import Any, cast

from qwen_ui.demo_model import VARIANTS
from qwen_ui.demo_model.questions import ask
from qwen_ui.demo_model.scenes import Scene, shapes_scene
from qwen_ui.engines.catalog import model_sources
from qwen_ui.settings import Settings
from qwen_ui.types import CacheControl
from tests.benchmarks.reporting import table
from tests.benchmarks.trace import KINDS, SIZE, Asked, Pictures, Row, make_trace
from tests.service import Chat, ScriptedSource, is_hit, text, usage

_PAST = CacheControl(no_cache=True, no_store=True)


def measure(length: int) -> dict[str, float] | None:
    """Times with the embedded model; None where its weights are not there."""
    name, folder = next(iter(VARIANTS.items()))
    if not any(folder.glob("*.safetensors")):
        print(f"\nskipped: the demo model, since there are no weights in {folder}")
        return None
    with tempfile.TemporaryDirectory() as cache:
        settings = Settings.model_validate({"cache_dir": cache, "model": name})
        chat = Chat(Path(cache), *cast(list[ScriptedSource], model_sources(settings)))
        timed = asyncio.run(_time_requests(chat, _scenes(length)))
    print(f"\nwith the model {name}, {length} requests, milliseconds")
    print(table([timed]))
    return timed


def _scenes(length: int) -> list[Asked]:
    rows: list[Row] = []
    seed = 0
    while len(rows) < length:
        seed += 1
        scene = _scene(seed)
        for kind in ("colour_of", "count_of", "exists", "describe", "count"):
            question = ask(kind, scene, "en", Random(seed), held_out=True)
            if question is not None:
                rows.append(Row(str(seed), question.text, question.short))
    pictures = Pictures(lambda name: _scene(int(name)).draw())
    return list(make_trace(rows, pictures, length))


def _scene(seed: int) -> Scene:
    return shapes_scene(seed, *SIZE, 1 + seed % 3)


async def _time_requests(chat: Chat, trace: Sequence[Asked]) -> dict[str, float]:
    await asyncio.wrap_future(chat.registry.engine(chat.registry.default))
    await _timed(chat, trace[0], _PAST)  # the first one warms up
    hits, repeats, with_cache, without, busy, differ = [], [], [], [], 0.0, 0
    for number, asked in enumerate(trace):
        if number % 2:
            (past_s, past), (took_s, events) = (
                await _timed(chat, asked, _PAST),
                await _timed(chat, asked, CacheControl()),
            )
        else:
            (took_s, events), (past_s, past) = (
                await _timed(chat, asked, CacheControl()),
                await _timed(chat, asked, _PAST),
            )
        with_cache.append(took_s)
        without.append(past_s)
        busy += usage(past).busy_s
        hits.append(is_hit(events))
        repeats.append(asked.kind in KINDS)
        if is_hit(events) and asked.kind != "re-worded":
            differ += text(events) != text(past)
    saved = chat.cache.stats().saved_busy_s
    await asyncio.to_thread(chat.service.close, 1.0)
    return _times(hits, repeats, with_cache, without) | {
        "device s": busy, "saved, s": saved, "saved, %": 100 * saved / busy,
        "hits that differ": differ,
    }  # fmt: skip


async def _timed(chat: Chat, asked: Asked, control: CacheControl) -> tuple[float, list[Any]]:
    """Milliseconds from the file's bytes to the last event."""
    began = time.perf_counter()
    picture = chat.service.open_picture(asked.data).image
    events = await chat.ask(picture, asked.question, cache=control)
    return (time.perf_counter() - began) * 1000, events


def _times(
    hits: Sequence[bool],
    repeats: Sequence[bool],
    with_cache: Sequence[float],
    without: Sequence[float],
) -> dict[str, float]:
    again, anew = (list(compress(times, repeats)) for times in (with_cache, without))
    return {
        "repeats, %": 100 * sum(repeats) / len(repeats),
        "hit rate, %": 100 * sum(hits) / len(hits),
        **_spread("with", with_cache),
        **_spread("without", without),
        **_spread("hit", list(compress(with_cache, hits))),
        "ratio": statistics.mean(with_cache) / statistics.mean(without),
        "repeats: ratio": statistics.mean(again) / statistics.mean(anew),
    }


def _spread(name: str, times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        f"{name}: mean": statistics.mean(times),
        f"{name}: p50": statistics.median(times),
        f"{name}: p95": ordered[int(len(ordered) * 0.95)],
    }
