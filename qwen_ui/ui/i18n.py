"""Texts in the visitor's language: `locales/*.json`, one flat file of keys per language."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import cast

import gradio as gr

from qwen_ui.errors import QwenUIError

FALLBACK = "en"
_FOLDER = Path(__file__).parent / "locales"
# Gradio matches the browser's locale exactly; Chinese goes by many names.
_ALIASES = {"zh": ("zh-CN", "zh-TW", "zh-HK", "zh-SG", "zh-MO", "zh-Hans", "zh-Hant")}


def languages() -> tuple[str, ...]:
    """What there is a locale of."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def locale(language: str) -> dict[str, str]:
    """All texts of one language, by key."""
    text = (_FOLDER / f"{language}.json").read_text(encoding="utf-8")
    return cast(dict[str, str], json.loads(text))


def choose_language(accept_language: str | None) -> str:
    """The first language of an Accept-Language header that there is a locale of (RFC 9110)."""
    weighed: list[tuple[float, str]] = []
    for item in (accept_language or "").split(","):
        tag, _, weight = item.partition(";q=")
        try:
            weighed.append((float(weight or 1), tag.strip().lower()))
        except ValueError:
            continue
    for quality, tag in sorted(weighed, key=lambda pair: -pair[0]):
        language = tag.split("-")[0]
        if quality > 0 and language in languages():
            return language
    return FALLBACK


class Texts:
    """The texts of one language; what it lacks is said in English."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = locale(language)

    def __call__(self, key: str, /, **params: str | int) -> str:
        text = self._texts.get(key) or locale(FALLBACK)[key]
        return text.format(**params)

    def error(self, error: QwenUIError) -> str:
        """One sentence that says what is wrong and what helps."""
        return self(error.text_key, **{"detail": str(error), **error.params})


@cache
def texts(language: str) -> Texts:
    return Texts(language)


def texts_for(request: gr.Request | None) -> Texts:
    """The texts for whoever sent this request."""
    header = request.headers.get("accept-language") if request is not None else None
    return texts(choose_language(header))


def static_labels() -> gr.I18n:
    """Labels that the browser translates by itself."""
    named = {name: locale(name) for name in languages()}
    for language, aliases in _ALIASES.items():
        named.update(dict.fromkeys(aliases, locale(language)))
    return gr.I18n(**named)
