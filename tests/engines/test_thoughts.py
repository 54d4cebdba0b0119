"""Thoughts apart from the answer, however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_ui.engines.thoughts import Thoughts
from qwen_ui.events import TextDelta, ThoughtDelta

CASES = [
    # text, whether the prompt opened a thought, thought, answer
    ("A circle.", False, "", "A circle."),
    (" \n A circle. ", False, "", " \n A circle. "),
    ("<think>\nhm <b>\n</think>\n\nA circle.", False, "hm <b>", "A circle."),
    ("\n<think>hm</think>A", False, "hm", "A"),
    ("hm\n</think>\n\nA circle.", True, "hm", "A circle."),
    ("<think>\nhm\n</think>\n\nA circle.", True, "hm", "A circle."),
    ("</think>A", True, "", "A"),
    ("hm, then cut </thi", True, "hm, then cut </thi", ""),
    ("A <think> tag </think> here", False, "", "A <think> tag </think> here"),
    ("<thin", False, "", "<thin"),
    ("<think>a</think>b</think>c", False, "a", "b</think>c"),
    ("<think>a  b\n\nc</think> ", False, "a  b\n\nc", ""),
    ("   ", False, "", "   "),
    ("", True, "", ""),
]


def parted(pieces: list[str], opened: bool) -> tuple[str, str]:
    thoughts = Thoughts(opened=opened)
    deltas = [delta for piece in pieces for delta in thoughts.text(piece)] + thoughts.end()
    assert all(delta.text for delta in deltas)
    answer = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    thought = [delta.text for delta in deltas if not isinstance(delta, TextDelta)]
    return "".join(thought), "".join(answer)


@pytest.mark.parametrize(("text", "opened", "thought", "answer"), CASES)
def test_a_whole_text_is_parted(text: str, opened: bool, thought: str, answer: str) -> None:
    assert parted([text], opened) == (thought, answer)


@given(st.sampled_from(CASES), st.data())
def test_pieces_change_nothing(case: tuple[str, bool, str, str], data: st.DataObject) -> None:
    text, opened, thought, answer = case
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parted(pieces, opened) == (thought, answer)


def test_what_the_server_parts_is_believed() -> None:
    thoughts = Thoughts(opened=True)
    deltas = [*thoughts.thought("hm </think> "), *thoughts.thought("m\n")]
    assert "".join(delta.text for delta in deltas) == "hm </think> m"
    assert thoughts.text("\n\n") == []
    assert thoughts.text(" A <think>") == [TextDelta("A <think>")]
    assert thoughts.end() == []


def test_what_looks_like_a_mark_at_the_end_of_a_parted_thought_stays() -> None:
    thoughts = Thoughts(opened=False)
    deltas = [*thoughts.thought("is 3 <"), *thoughts.text("No.")]
    assert deltas == [ThoughtDelta("is 3 <"), TextDelta("No.")]
