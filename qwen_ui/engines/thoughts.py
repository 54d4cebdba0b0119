"""Thoughts apart from the answer, in text that comes in pieces."""

from __future__ import annotations

from qwen_ui.events import TextDelta, ThoughtDelta

_OPEN, _CLOSE = "<think>", "</think>"

Delta = ThoughtDelta | TextDelta


class Thoughts:
    """One answer's text. White space around the marks of a thought belongs to neither part.

    A server may part thoughts from text itself (`thought`), or leave them in it between marks
    (`text`). Marks count only before the answer: later they are what the answer speaks of.
    `opened`: the prompt has opened a thought, so that only its closing mark is in the text.
    """

    def __init__(self, *, opened: bool) -> None:
        self._opened = opened
        self._held = ""  # may yet prove to be a mark, or white space beside one
        self._began = False  # it is known whether the text begins with a thought
        self._thinking = False
        self._fresh = True  # nothing of the thought was told: white space is dropped
        self._at_start = False  # just behind a thought: likewise

    def thought(self, piece: str) -> list[Delta]:
        """A piece that the server calls a thought."""
        self._began = self._at_start = True
        whole = self._held + piece
        shown = whole.rstrip()
        self._held = whole[len(shown) :]
        return self._shown(shown)

    def text(self, piece: str) -> list[Delta]:
        """A piece of the text."""
        if not self._began:
            self._held += piece
            return self._begin()
        if self._thinking:
            return self._marked(piece)
        if self._at_start:
            self._held = ""
            piece = piece.lstrip()
            self._at_start = not piece
        return [TextDelta(piece)] if piece else []

    def end(self) -> list[Delta]:
        """What was held back, now that no mark can follow."""
        held, self._held = self._held, ""
        if not held or self._at_start:
            return []
        return [ThoughtDelta(held) if self._thinking or self._opened else TextDelta(held)]

    def _begin(self) -> list[Delta]:
        begins = self._held.lstrip()
        if not begins or (_OPEN.startswith(begins) and begins != _OPEN):
            return []
        piece, self._held, self._began = self._held, "", True
        if begins.startswith(_OPEN):
            piece = begins.removeprefix(_OPEN)
        elif not self._opened:
            return [TextDelta(piece)]
        self._thinking = True
        return self._marked(piece)

    def _marked(self, piece: str) -> list[Delta]:
        """Inside a thought that a mark will end."""
        thought, mark, text = (self._held + piece).partition(_CLOSE)
        self._held = ""
        if not mark:
            return self._think(thought)
        self._thinking, self._at_start = False, True
        return self._shown(thought.rstrip()) + self.text(text)

    def _think(self, piece: str) -> list[Delta]:
        """Tell all but what may be white space before a mark, and the mark's beginning."""
        whole = self._held + piece
        mark = next((n for n in range(len(_CLOSE) - 1, 0, -1) if whole.endswith(_CLOSE[:n])), 0)
        shown = whole[: len(whole) - mark].rstrip()
        self._held = whole[len(shown) :]
        return self._shown(shown)

    def _shown(self, thought: str) -> list[Delta]:
        if self._fresh:
            thought = thought.lstrip()
        self._fresh = self._fresh and not thought
        return [ThoughtDelta(thought)] if thought else []
