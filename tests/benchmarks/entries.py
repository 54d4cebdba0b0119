"""Entries as the cache writes them, any number of them, for the benchmarks of the stores."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from cache_store import codec
from cache_store.equivalents import wordings
from cache_store.keys import make_key
from cache_store.stores.base import Stored
from cache_store.tags import image_tag, model_tag, scope_tag, tags_of
from cache_store.types import (
    Answer,
    CacheEntry,
    CacheQuery,
    FinishReason,
    ImagePart,
    TextPart,
    Turn,
)

MODEL = "Qwen/Qwen3-VL-4B-Instruct"
_SAMPLING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "repetition_penalty": 1.0}
_WORDS = (  # noqa: SIM905 - a list of fifty strings is not read more easily
    "a the in on of with and is are there left right picture sign table street person wall light"
    " window building car tree water small large wooden white black red blue green standing sitting"
    " next behind front several two three people holding wearing visible background"
).split()
_QUESTIONS_EACH = 5  # of one picture
_KEEP_S = 24 * 3600
_TEMPLATES = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A query whose answer is kept, and what is kept under which name."""

    query: CacheQuery
    name: str
    stored: Stored


def entries(count: int, asked: int) -> tuple[list[Asked], Iterator[tuple[str, Stored]]]:
    """What will be asked for, and all that is to be kept, those among the rest at equal distances.

    Only those asked for are made by the key and the codec. The rest are the same bytes but for a
    number, under other names and tags: nothing decodes what nobody asks for.
    """
    every = count // asked
    wanted = [make(number) for number in range(asked)]
    models = [make(-1 - number).stored for number in range(_TEMPLATES)]

    def all_of_them() -> Iterator[tuple[str, Stored]]:
        for number in range(count):
            place, rest = divmod(number, every)
            if rest == 0 and place < asked:
                yield wanted[place].name, wanted[place].stored
            else:
                yield _filler(number, models[number % _TEMPLATES])

    return wanted, all_of_them()


def fresh(first: int) -> Iterator[Asked]:
    """More of them, none of which is in `entries`, from a number that no other caller uses."""
    return (make(10**9 + first + number) for number in itertools.count())


def make(number: int) -> Asked:
    """Entry `number`, always the same but for its times."""
    chance = Random(number)
    picture = _hex(f"picture {number // _QUESTIONS_EACH}")
    question = f"What is written on the {chance.choice(_WORDS)} beside number {number}?"
    parts = (ImagePart(picture), TextPart(question))
    query = CacheQuery(MODEL, _hex("engine"), (Turn("user", parts),), _SAMPLING, 512)
    key, material = make_key(query)
    now, length = time.time(), chance.randint(500, 1000)
    answer = _answer(chance, length)
    entry = CacheEntry(material, MODEL, 512, answer, now, now + _KEEP_S)
    shared = wordings(query, key, material)
    assert shared is not None
    kept = Stored(codec.dump(entry), entry.expires_at, tags_of(query, key), answer.elapsed_s)
    return Asked(query, shared.name, kept)


def _answer(chance: Random, characters: int) -> Answer:
    text = ""
    while len(text) < characters:
        text += chance.choice(_WORDS) + (". " if chance.random() < 0.1 else " ")
    tokens = characters // 4
    return Answer(
        text[:characters],
        thought="",
        finish_reason=FinishReason.STOP,
        prompt_tokens=chance.randint(200, 1200),
        completion_tokens=tokens,
        first_token_s=chance.uniform(0.2, 0.8),
        elapsed_s=tokens * chance.uniform(0.02, 0.1),
        busy_s=tokens * 0.02,
    )


def _filler(number: int, model: Stored) -> tuple[str, Stored]:
    picture, scope = _hex(f"filler {number // _QUESTIONS_EACH}"), _hex(f"scope {number // 5}")
    name = (
        f"qwen3vl:Qwen-Qwen3-VL-4B-Instruct:{picture[:12]}:{scope[:32]}:~{_hex(str(number))[:32]}"
    )
    value = model.value[:-8] + number.to_bytes(8, "big")
    tags = (image_tag(picture), model_tag(MODEL), scope_tag(scope))
    return name, Stored(value, model.expires_at, tags, model.cost_s)


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
