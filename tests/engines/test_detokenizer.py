"""Text as it grows: complete characters only, thoughts apart."""

from __future__ import annotations

import pytest

from qwen_ui.engines.detokenizer import Detokenizer
from qwen_ui.events import TextDelta, ThoughtDelta
from tests.engines.tiny import byte_tokenizer

TOKENIZER = byte_tokenizer(thinking=False)
MARKS = TOKENIZER.get_added_vocab()


def pieces(text: str, *, thinking: bool = False) -> list[TextDelta | ThoughtDelta]:
    stream = Detokenizer(
        TOKENIZER.backend_tokenizer,
        thinking=thinking,
        think=MARKS["<think>"],
        end_think=MARKS["</think>"],
    )
    found = [stream.push(id) for id in TOKENIZER(text)["input_ids"]]
    return [piece for piece in found if piece is not None]


def joined(kind: type, deltas: list[TextDelta | ThoughtDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, kind))


@pytest.mark.parametrize(
    "text", ["plain", "  spaces kept \n", "图里有什么？", "👩‍👩‍👧 family", "a\u200db"]
)
def test_the_pieces_join_to_the_text(text: str) -> None:
    assert joined(TextDelta, pieces(text)) == text


def test_no_piece_holds_half_a_character() -> None:
    assert [delta.text for delta in pieces("é中👍")] == ["é", "中", "👍"]


def test_white_space_around_the_mark_belongs_to_neither_part() -> None:
    deltas = pieces("\nI see. \nA disc.\n\n</think>\n\nRed. Yes.\n", thinking=True)
    assert joined(ThoughtDelta, deltas) == "I see. \nA disc."
    assert joined(TextDelta, deltas) == "Red. Yes.\n"


def test_a_thought_that_the_model_opens_itself_is_a_thought() -> None:
    deltas = pieces("<think>Hm.</think>Red.")
    assert (joined(ThoughtDelta, deltas), joined(TextDelta, deltas)) == ("Hm.", "Red.")


def test_special_tokens_are_not_shown() -> None:
    assert joined(TextDelta, pieces("Red<|im_end|>")) == "Red"
