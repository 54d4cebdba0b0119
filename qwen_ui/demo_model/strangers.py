"""Questions from outside the model's world: put together from parts, and from stray words."""

from __future__ import annotations

from random import Random

from qwen_ui.demo_model.phrasings import expand, patterns_of
from qwen_ui.demo_model.words import HAN, WORDS_EN, Language


def _stray(language: Language, rng: Random) -> str:
    """Words, or letters, that mean nothing together."""
    if language == "zh":
        return "".join(rng.choice(HAN) for _ in range(rng.randint(2, 12)))
    words = [rng.choice(WORDS_EN) for _ in range(rng.randint(1, 9))]
    if rng.random() < 0.3:
        letters = "abcdefghijklmnopqrstuvwxyz"
        spot = rng.randrange(len(words))
        words[spot] = "".join(rng.choice(letters) for _ in range(rng.randint(3, 9)))
    starts = ("", "", "what is ", "the ", "how ", "is ", "where is the ", "tell me ", "who ")
    start = rng.choice(starts)
    return start + " ".join(words)


def question(language: Language, rng: Random, *, held_out: bool = False) -> str:
    patterns = patterns_of("stranger", language)
    if held_out:
        patterns = tuple(p for p in patterns if p.startswith("!"))
    elif rng.random() < 0.3:
        return _stray(language, rng)
    else:
        patterns = tuple(p for p in patterns if not p.startswith("!"))
    return expand(rng.choice(patterns), rng).lstrip("!").strip()
