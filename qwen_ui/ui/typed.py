"""Text of a visitor in HTML, inside Markdown."""

from __future__ import annotations

import re

_NOT_PLAIN = re.compile(r"[\x00-\x1f!-/:-@\[-`{-\x7f]")


def as_typed(text: str) -> str:
    """HTML that shows exactly `text`, in an element or in an attribute.

    Every character that Markdown, LaTeX or HTML could take for its own is a character reference.
    """
    return _NOT_PLAIN.sub(lambda found: f"&#{ord(found[0])};", text)
