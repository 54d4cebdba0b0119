"""How people ask: the patterns of `phrasings.toml`, some never shown in training.

A pattern that begins with `!` is held out as a whole; of the others every ninth wording (by a
hash) is held out.
"""

from __future__ import annotations

import re
import tomllib
import zlib
from functools import cache
from pathlib import Path
from random import Random

from qwen_ui.demo_model.words import HAN, WORDS_EN, Language

LANGUAGES: tuple[Language, ...] = ("en", "zh")


@cache
def _load() -> dict[tuple[str, Language], tuple[str, ...]]:
    text = Path(__file__).with_name("phrasings.toml").read_text(encoding="utf8")
    data = tomllib.loads(text)
    found: dict[tuple[str, Language], tuple[str, ...]] = {}
    for kind, by_language in data["patterns"].items():
        for language in LANGUAGES:
            parts: dict[str, str] = data["parts"][language]
            patterns: list[str] = by_language[language]
            # The longest name first: `@things` is not `@thing` and an s.
            for part in sorted(parts, key=len, reverse=True):
                patterns = [p.replace(f"@{part}", parts[part]) for p in patterns]
            found[kind, language] = tuple(patterns)
    return found


def patterns_of(kind: str, language: Language) -> tuple[str, ...]:
    return _load()[kind, language]


_CHOICE = re.compile(r"\{([^{}]*)\}")


def expand(pattern: str, rng: Random) -> str:
    """One wording of the pattern; choices may be nested."""
    while match := _CHOICE.search(pattern):
        choice = rng.choice(match[1].split("|"))
        pattern = pattern[: match.start()] + choice + pattern[match.end() :]
    return pattern


def _held_out(pattern: str, wording: str) -> bool:
    return pattern.startswith("!") or zlib.crc32(wording.encode()) % 9 == 0


@cache
def _patterns(kind: str, language: Language, held_out: bool) -> tuple[str, ...]:
    patterns = patterns_of(kind, language)
    return patterns if held_out else tuple(p for p in patterns if not p.startswith("!"))


def wording(kind: str, language: Language, rng: Random, *, held_out: bool = False) -> str:
    """A wording with its slots still open, from the training set or from the held-out one.

    A held-out wording comes half the time from a held-out pattern, else from the held-out
    ninth of the known ones.
    """
    patterns = _patterns(kind, language, held_out)
    whole = [p for p in patterns if p.startswith("!")]
    if held_out and rng.random() < 0.5:
        patterns = tuple(whole)
    while True:
        pattern = rng.choice(patterns)
        text = expand(pattern, rng)
        if _held_out(pattern, text) == held_out:
            return text.lstrip("!")


_LIGHT_WORDS = "the is are there do you see in this of a please me can does have it that tell say i"
_LIGHT = frozenset(_LIGHT_WORDS.split())
_FILLER_WORDS = """exactly really just total called overall kindly possible correct then also own
real actually name given right there shown one seen over altogether still already"""
_FILLERS = _FILLER_WORDS.split()
_FILLERS_ZH = (
    "一共",
    "到底",
    "究竟",
    "其实",
    "那个",
    "这里",
    "请",
    "一下",
    "的",
    "了",
    "呢",
    "被",
    "把",
    "上",
)


def blur(pattern: str, language: Language, rng: Random) -> str:
    """Sometimes drops a light word or puts in a stray one: what matters are the words that
    carry the question, and a wording that is new must not look like a new subject."""
    if rng.random() < 0.8:
        return pattern
    if language == "zh":
        spots = [m.start() for m in re.finditer(r"[\u4e00-\u9fff<]", pattern)]
        spot = rng.choice(spots)
        stray = rng.choice(_FILLERS_ZH) if rng.random() < 0.6 else rng.choice(HAN)
        return pattern[:spot] + stray + pattern[spot:]
    words = pattern.split(" ")
    if rng.random() < 0.45:
        light = [i for i, word in enumerate(words) if word in _LIGHT]
        if light:
            del words[rng.choice(light)]
    if rng.random() < 0.6:
        stray = rng.choice(_FILLERS) if rng.random() < 0.5 else rng.choice(WORDS_EN)
        words.insert(rng.randrange(len(words) + 1), stray)
    return " ".join(words)


_OPENERS: dict[Language, tuple[str, ...]] = {
    "en": ("please, ", "hi, ", "hello! ", "look at the picture: ", "look: ", "ok, ", "hey, ",
           "quick question: ", "now ", "so ", "please look at the image. ", "hi there! "),
    "zh": ("你好，", "请看图，", "看图，", "请看这张图片，", "嗨，", "看一下，", "好的，",
           "请问，"),
}  # fmt: skip
_CLOSERS: dict[Language, tuple[str, ...]] = {
    "en": (", please", " please", "? thanks", "? answer briefly", "? thank you"),
    "zh": ("？谢谢", "呢", "，谢谢", "？请回答", "啊"),
}


CAPITALS = 0.015  # share of English questions that are all capitals


def dress(text: str, language: Language, rng: Random, capitals: float = CAPITALS) -> str:
    """Openers, closers, capitals and punctuation as people type them, or do not."""
    chance = rng.random()
    if chance < 0.15:
        text = rng.choice(_OPENERS[language]) + text
    elif chance < 0.25:
        text += rng.choice(_CLOSERS[language])
    if language == "en":
        style = rng.random()
        text = text[0].upper() + text[1:] if style < 0.75 else text
        text = text.upper() if style > 1 - capitals else text
        end = rng.choice(("?", "?", "?", "?", ".", "", "", " ?", "!", "?"))
    else:
        end = rng.choice(("？", "？", "？", "？", "?", "。", "", "", "！"))
    return text if text[-1] in "?.!？。！" else text + end
