"""Cuts depend on what stands left of them, and on nothing else."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.chunks import ChunkRule, Cut, chunk_rule
from qwen_ui.engines.processor import load_processor

START, END, OPEN, ROLE = 1, 2, 3, 4
RULE = ChunkRule(START, END, answer=(OPEN, ROLE), every=5)

prompts = st.lists(st.integers(0, 6), max_size=60)


@given(prompts, st.data())
def test_the_cuts_of_a_prefix_are_those_of_the_whole_inside_it(
    ids: list[int], data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(ids)))
    inside = [cut for cut in RULE.cuts(ids) if cut.end <= length]
    assert RULE.cuts(ids[:length]) == inside


@given(prompts)
def test_no_chunk_is_longer_than_the_rule_allows(ids: list[int]) -> None:
    ends = [0, *(cut.end for cut in RULE.cuts(ids)), len(ids)]
    assert all(0 <= later - earlier <= RULE.every for earlier, later in pairwise(ends))


def test_a_cut_stands_behind_each_picture_and_where_each_answer_begins() -> None:
    ids = [0, START, 9, END, 0, OPEN, ROLE, 8, START, 9, 9, END, OPEN, ROLE]
    assert [cut.end for cut in RULE.cuts(ids)] == [4, 7, 12, 14]


def test_a_cut_in_a_picture_is_told_apart() -> None:
    ids = [0, 0, 0, 0, START, 9, 9, 9, 9, 9, 9, END, 0]
    assert RULE.cuts(ids) == [Cut(5, True), Cut(10, True), Cut(12, False)]


def test_the_rule_is_read_from_the_tokenizer() -> None:
    tokenizer = load_processor(VARIANTS["demo"]).tokenizer
    rule = chunk_rule(tokenizer)
    text = (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\nA disc.<|im_end|>\n"
    )
    ids = tokenizer.encode(text, add_special_tokens=False)
    picture, question = (tokenizer.decode(ids[: cut.end]) for cut in rule.cuts(ids))
    assert picture.endswith("<|vision_end|>")
    assert question.endswith("What?<|im_end|>\n<|im_start|>assistant\n")
