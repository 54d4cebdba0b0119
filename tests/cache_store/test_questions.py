"""The canonical form of a question: newlines and outer white space, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.questions import canonical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("a\n\rb", "a\n\nb"),
        ("a\r\r\nb", "a\n\nb"),
        ("  a \t\n", "a"),
        ("\u3000图里有什么\u00a0", "图里有什么"),
        ("", ""),
        (" \r\n ", ""),
    ],
)
def test_newlines_are_unified_and_the_outside_is_stripped(text: str, expected: str) -> None:
    assert canonical(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a  b",  # inner spaces
        "What is THIS ?",  # case and punctuation
        "👩\u200d👩\u200d👧",  # invisible characters hold a family together
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # and a flag
        "می\u200cخواهم",  # and Persian
        "e\u0301",  # NFC would make one character of it
        "\uf900",  # and another Han character of this
        "2³",
        "Ａ？",
        "\u200bx\u200b",  # zero width is not white space
        "x\ufeff",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert canonical(text) == text


@given(st.text())
def test_a_canonical_text_is_its_own_canonical_form(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    assert "\r" not in once


@given(st.text())
def test_nothing_inside_is_lost(text: str) -> None:
    assert canonical(text).split() == text.split()
