"""From token ids to text as it grows: UTF-8 safe, thoughts apart from the answer."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from qwen_ui.events import TextDelta, ThoughtDelta


class Detokenizer:
    """One answer's text. White space around the marks of a thought belongs to neither part.

    `thinking`: the prompt has opened a thought. `think` and `end_think` are the ids of the
    markers, or None where the tokenizer has none.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, thinking: bool, think: int | None, end_think: int | None
    ) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._think = think
        self._end_think = end_think
        self._thinking = thinking
        self._at_start = thinking  # just behind a mark: white space is dropped
        self._held = ""  # white space that ends a thought, if the thought ends here

    def push(self, token: int) -> TextDelta | ThoughtDelta | None:
        """What this token adds, if anything can be shown yet."""
        if token in (self._think, self._end_think):
            self._thinking = token == self._think
            self._stream = DecodeStream(skip_special_tokens=True)
            self._at_start, self._held = True, ""
            return None
        piece = self._stream.step(self._tokenizer, token)
        if piece and self._at_start:
            piece = piece.lstrip()
        if not piece:
            return None
        self._at_start = False
        return self._thought(piece) if self._thinking else TextDelta(piece)

    def _thought(self, piece: str) -> ThoughtDelta | None:
        whole = self._held + piece
        shown = whole.rstrip()
        self._held = whole[len(shown) :]
        return ThoughtDelta(shown) if shown else None
