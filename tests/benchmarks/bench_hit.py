"""What a hit costs, and what the cache adds to a miss.

    python -m tests.benchmarks.bench_hit [--quick] [--json] [--data DIR]

Each row takes all its sides in turns, so that ratios (medians of each round's own) hold on a busy
machine; times are medians in milliseconds.

    known L1, L2    the bytes were seen before; the answer is in memory, or only on disk
    new bytes       other bytes with the same pixels: decoded, hashed, kept, and then a hit
    floor           plain Pillow decoding and one SHA-256 pass over pixels that lie ready
    copied          the same, with the pixels copied out of Pillow, as whoever hashes them must
    thumbnail       the part of `new bytes` that makes the picture for the page
    turned, ICC     new bytes of a picture with EXIF orientation 6, or with a foreign profile,
                    over their own floor
    recipe          the recipe of `recipe.py` with a dictionary, or with Redis
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from PIL import Image

from cache_store.images import decode
from qwen_ui.events import CacheStatus
from qwen_ui.runs import Replay
from qwen_ui.types import Image as Picture
from tests.benchmarks import recipe
from tests.benchmarks.photos import adobe_like_profile, photo, synthesised
from tests.benchmarks.reporting import (
    Goal,
    Turns,
    arguments,
    conclude,
    in_turns,
    machine,
    table,
    timed_ms,
)
from tests.pictures import exif, saved, with_comment
from tests.service import Chat, ScriptedSource, is_hit, usage

SIZES = {0.3: (640, 480), 2: (1632, 1224), 12: (4000, 3000)}  # megapixels: pixels
QUESTION = "What is in this picture?"
MODEL = "scripted"


def main() -> int:
    options = arguments("what a hit costs, and what the cache adds to a miss")
    print("machine:", machine())
    with tempfile.TemporaryDirectory() as folder, recipe.redis_server() as server:
        if server is None:
            print("skipped: the recipe with Redis, since there is no redis-server here")
        chat = Chat(Path(folder), ScriptedSource(script=lambda _: ["An answer. " * 20]))
        rows = [
            _measure_size(chat, megapixels, photo(size, options.data), options.quick, server)
            for megapixels, size in SIZES.items()
        ]
        print(table(rows))
        misses = asyncio.run(_misses(chat, photo(SIZES[12], options.data), options.quick))
        print()
        print(table([misses]))
        counting = _counting_us(chat)
        print(f"\nof it statistics: {counting:.1f} us a lookup")
    model = _demo_model(options.quick)
    browser = _browser(options.quick)
    return conclude(
        _goals(rows, misses), options.json, hits=rows, misses=misses, counting_us=counting,
        model=model, browser=browser,
    )  # fmt: skip


def _goals(rows: list[dict[str, Any]], misses: dict[str, float]) -> list[Goal]:
    large = rows[-1]
    return [
        Goal("known bytes at 12 megapixels", large["known L1"], 4, "ms"),
        Goal("recipe over known bytes at 12 megapixels", large["recipe / L1"], 500, "x", True),
        *(
            Goal(
                f"new bytes at {row['MP']} megapixels over their floor",
                row["new / floor"],
                1.3,
                "x",
            )
            for row in rows
        ),
        Goal("what the service adds to a miss", misses["added"], 5, "ms"),
    ]


# --- hits --------------------------------------------------------------------------------------


def _measure_size(
    chat: Chat, megapixels: float, image: Image.Image, quick: bool, server: Any
) -> dict[str, Any]:
    data = saved(image, "JPEG", quality=90)
    asyncio.run(chat.ask(chat.service.open_picture(data).image, QUESTION))
    rounds = (5 if quick else 15) if megapixels > 1 else (15 if quick else 51)
    known = in_turns(
        {
            "known L1": lambda: _hit(chat, data),
            "known L2": lambda: _hit_on_disk(chat, data),
            "file SHA": lambda: hashlib.sha256(data).digest(),
        },
        rounds * 3,
    )
    new = _new_bytes(chat, data, rounds)
    turned = _new_bytes(chat, saved(image, "JPEG", quality=90, exif=exif(6)), max(3, rounds // 3))
    profile = saved(image, "JPEG", quality=90, icc_profile=adobe_like_profile())
    tagged = _new_bytes(chat, profile, max(3, rounds // 3))
    recipes = _recipes(data, server, 1 if quick and megapixels > 5 else 3)
    return {
        "MP": megapixels,
        "file MB": len(data) / 2**20,
        "known L1": known.median("known L1"),
        "known L2": known.median("known L2"),
        "file SHA": known.median("file SHA"),
        "new bytes": new.median("new"),
        "floor": new.median("floor"),
        "new / floor": new.ratio("new", "floor"),
        "new / copied": new.ratio("new", "copied"),
        "thumbnail": new.median("thumbnail"),
        "turned / floor": turned.ratio("new", "floor"),
        "ICC / floor": tagged.ratio("new", "floor"),
        **recipes,
        "recipe / L1": recipes["recipe"] / known.median("known L1"),
    }


def _hit(chat: Chat, data: bytes, tier: str = "l1") -> None:
    """A file and a question in, the events of the stored answer out."""
    picture = chat.service.open_picture(data)
    found = chat.service.lookup(chat.request(picture.image, QUESTION))
    assert isinstance(found, Replay), "it was to be a hit"
    status = found.events[0]
    assert isinstance(status, CacheStatus)
    assert status.tier == tier


def _hit_on_disk(chat: Chat, data: bytes) -> None:
    chat.cache._store._l1.clear()
    _hit(chat, data, "l2")


_serial = itertools.count()


def _new_bytes(chat: Chat, data: bytes, rounds: int) -> Turns:
    pixels = decode(data, 2**26)
    raw = pixels.tobytes()
    fresh = iter([with_comment(data, b"%d" % next(_serial)) for _ in range(rounds)])
    picture = chat.service.open_picture(with_comment(data, b"%d" % next(_serial)))
    asyncio.run(chat.ask(picture.image, QUESTION))
    return in_turns(
        {
            "floor": lambda: _decode_and_hash(data, raw),
            "copied": lambda: _decode_and_hash(data, None),
            "new": lambda: _hit(chat, next(fresh)),
            "thumbnail": lambda: chat.media.make_thumbnail("bench", pixels),
        },
        rounds,
    )


def _decode_and_hash(data: bytes, raw: bytes | None) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        hashlib.sha256(image.tobytes() if raw is None else raw).digest()


def _recipes(data: bytes, server: Any, rounds: int) -> dict[str, float]:
    kept = {recipe.key(MODEL, data, QUESTION): "An answer."}
    times = [timed_ms(lambda: kept[recipe.key(MODEL, data, QUESTION)]) for _ in range(rounds)]
    taken = {"recipe": statistics.median(times)}
    if server is not None:
        name = next(iter(kept))
        server.set(name, kept[name])
        fetched = statistics.median(timed_ms(lambda: server.get(name)) for _ in range(101))
        taken["recipe, Redis"] = taken["recipe"] + fetched
    return taken


# --- misses ------------------------------------------------------------------------------------


async def _misses(chat: Chat, image: Image.Image, quick: bool) -> dict[str, float]:
    """Milliseconds of a miss on known bytes whose pixels are at hand and whose model is instant."""
    data = saved(image, "JPEG", quality=90)
    pixels = chat.service.open_picture(data).image.load()
    added, hits, hashed = [], [], []
    for number in range(30 if quick else 200):
        began = time.perf_counter()
        picture = chat.service.open_picture(data).image
        at_hand: Picture = replace(picture, load=lambda: pixels)
        assert not is_hit(await chat.ask(at_hand, f"{QUESTION} {number}"))
        added.append(time.perf_counter() - began)
        began = time.perf_counter()
        assert is_hit(await chat.ask(at_hand, f"{QUESTION} {number}"))
        hits.append(time.perf_counter() - began)
        hashed.append(timed_ms(lambda: hashlib.sha256(data).digest()))
    return {
        "added": statistics.median(added) * 1000,
        "of it file SHA": statistics.median(hashed),
        "added, 95 %": sorted(added)[int(len(added) * 0.95)] * 1000,
        "hit, through the loop": statistics.median(hits) * 1000,
    }


def _counting_us(chat: Chat, rounds: int = 20_000) -> float:
    """What it costs to count one hit: its time and four counters, as `ResponseCache.lookup` does.

    CPU time of this thread. The writing to disk, every other second, is not in it.
    """
    stats = chat.cache._stats
    began = time.thread_time()
    for _ in range(rounds):
        stats.took("lookup", 0.0003)
        stats.add(hits_l1=1, saved_s=2.0, saved_busy_s=1.5, saved_tokens=42)
    return (time.thread_time() - began) / rounds * 1e6


def _demo_model(quick: bool) -> dict[str, float] | None:
    """A miss and a hit with the embedded model; None where its weights are not there."""
    from qwen_ui.demo_model import VARIANTS

    name, folder = next(iter(VARIANTS.items()))
    if not any(folder.glob("*.safetensors")):
        print(f"\nskipped: a miss with the demo model, since there are no weights in {folder}")
        return None
    from qwen_ui.engines.catalog import model_sources
    from qwen_ui.settings import Settings

    with tempfile.TemporaryDirectory() as cache:
        settings = Settings.model_validate({"cache_dir": cache, "model": name})
        chat = Chat(Path(cache), *cast(list[ScriptedSource], model_sources(settings)))
        found = asyncio.run(_model_misses(chat, 2 if quick else 7))
    print("\nwith the model", name)
    print(table([found]))
    return found


async def _model_misses(chat: Chat, rounds: int) -> dict[str, float]:
    misses: list[float] = []
    first: list[float] = []
    hits: list[float] = []
    await asyncio.wrap_future(chat.registry.engine(chat.registry.default))
    for number in range(rounds + 1):  # the first one warms up
        picture = chat.service.open_picture(saved(synthesised((448, 448), number)))
        for taken in (misses, hits):
            began = time.perf_counter()
            events = await chat.ask(picture.image, QUESTION)
            taken.append((time.perf_counter() - began) * 1000)
            if taken is misses:
                first.append(usage(events).first_token_s * 1000)
    await asyncio.to_thread(chat.service.close, 1.0)
    told = {"miss": misses, "first token": first, "hit": hits}
    medians = {name: statistics.median(taken[1:]) for name, taken in told.items()}
    return medians | {"miss / hit": medians["miss"] / medians["hit"]}


def _browser(quick: bool) -> dict[str, float] | None:
    """From Enter to the drawn answer; None where there is no browser."""
    if quick:
        print("\nskipped: the browser, since this is --quick")
        return None
    try:
        from tests.benchmarks.browser_hit import measure

        found = measure(15)
    except Exception as error:  # noqa: BLE001 - no playwright, no Chromium, no page: all optional
        print(f"\nskipped: the browser, since {type(error).__name__}: {error}".splitlines()[1])
        return None
    print("\nin the browser, milliseconds from Enter to the drawn answer")
    print(table([found]))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
