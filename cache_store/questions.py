"""Questions in canonical form: what the model sees, and so what an exact hit compares."""

from __future__ import annotations


def canonical(text: str) -> str:
    """Newlines unified, outer white space stripped; nothing else.

    Invisible characters hold emoji, flags and Persian together, and NFC remaps some Han
    characters, so both stay as they are.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
