"""A guard drops what means something else, and leaves what only says it in another way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from cache_store import guards
from cache_store.guards import GUARDS, is_another_question, read

# guard, two questions that it must drop
DROPPED = [
    ("same_quotes", "What does 'exit' mean?", "What does 'entrance' mean?"),
    ("same_quotes", 'Is it "Cat" or not?', 'Is it "cat" or not?'),
    ("same_quotes", "“出口”在哪里？", "“入口”在哪里？"),
    ("same_quotes", "图中有《红楼梦》吗？", "图中有《西游记》吗？"),
    ("same_numbers", "Are there two sheep?", "Are there three sheep?"),
    ("same_numbers", "What is 1.5 times that?", "What is 15 times that?"),
    ("same_numbers", "Is it -5 degrees?", "Is it 5 degrees?"),
    ("same_numbers", "Is x < 5?", "Is x > 5?"),
    ("same_numbers", "Is angle 1 + angle 2 = 180?", "Is angle 1 + angle 2 > 180?"),
    ("same_numbers", "Is C++ used?", "Is C used?"),
    ("same_numbers", "Who is first?", "Who is second?"),
    ("same_numbers", "From the 12th to the 17th page?", "From the 17th to the 12th page?"),
    ("same_numbers", "图中有两只猫吗？", "图中有三只猫吗？"),
    ("same_numbers", "1969年发生了什么？", "1996年发生了什么？"),
    ("same_negation", "How many people are skiing?", "How many people are not skiing?"),
    ("same_negation", "Is the dog barking?", "Isn't the dog barking?"),
    ("same_negation", "Is there a cup with milk?", "Is there a cup without milk?"),
    ("same_negation", "图中的人戴帽子了吗？", "图中的人没戴帽子吗？"),
    ("same_negation", "哪些人不高兴？", "哪些人高兴？"),
    ("same_polarity", "Which bar is the most common?", "Which bar is the least common?"),
    ("same_polarity", "Is the door open?", "Is the door closed?"),
    ("same_polarity", "Which is the largest bar?", "Which is the bar?"),
    ("same_polarity", "最高的是哪个？", "最低的是哪个？"),
    ("same_polarity", "门开着吗？", "门关着吗？"),
    ("same_places", "What is left of the cat?", "What is right of the cat?"),
    ("same_places", "What is above the bed?", "What is below the bed?"),
    ("same_places", "Is the dog in the car?", "Is the dog on the car?"),
    ("same_places", "图中左边是什么？", "图中右边是什么？"),
    ("same_places", "桌子上面有什么？", "桌子下面有什么？"),
    ("same_colours", "Where is the red car?", "Where is the blue car?"),
    ("same_colours", "Is the grass yellow-green?", "Is the grass yellow?"),
    ("same_colours", "有红色的车吗？", "有蓝色的车吗？"),
    ("same_asking", "What is the dog eating?", "Is the dog eating?"),
    ("same_asking", "Who is it?", "Where is it?"),
    ("same_asking", "他在做什么？", "他在哪里做？"),
    ("same_order", "Is the dog chasing the cat?", "Is the cat chasing the dog?"),
    ("same_order", "Is the bus facing the cow?", "Is the cow facing the bus?"),
    ("same_order", "猫在追狗吗？", "狗在追猫吗？"),
    ("nothing_exchanged", "Is there a fork?", "Is there a knife?"),
    ("nothing_exchanged", "What is the girl drinking?", "What is the girl eating?"),
    ("nothing_exchanged", "Does China grow rice?", "Does US grow rice?"),
    ("nothing_exchanged", "图中的猫在睡觉吗？", "图中的猫在吃饭吗？"),
    ("nothing_exchanged", "What?", "What brand sells this model of laptop bag?"),
]

# nearly the same, said in another way: what a suggestion is for
KEPT = [
    ("What colour is the car?", "What is the color of the car?"),
    ("What is in this image?", "What is this?"),
    ("Describe this image.", "Please describe the picture in detail."),
    ("What is the man wearing?", "What does the man wear?"),
    ("How many people are there?", "How many people are in the picture?"),
    ("What's the dog doing?", "What is this dog doing?"),
    ("Is there a dog in the picture?", "Are there dogs?"),
    ("What does the sign say?", "What does this sign say, exactly?"),
    ("What animal is this?", "Which animal is it?"),
    ("What brand is the laptop?", "What is the brand of this laptop?"),
    ("Where was this photo taken?", "Where is this photo taken?"),
    ("What is the cat sitting on?", "What is the cat sitting on in this picture?"),
    ("Is x < 5?", "is x < 5"),
    ("What does 'exit' mean?", "what does “exit” mean, please?"),
    ("Are there two sheep?", "Are there 2 sheep in the photo?"),
    ("这是什么动物？", "图中是什么动物"),
    ("图中有几个人？", "这张图片里有多少人？"),
    ("描述这张图片", "请详细描述一下这张图片"),
    ("这只猫是什么颜色？", "猫的颜色是什么？"),
    ("图中的人在做什么？", "这个人在做什么呢"),
    ("车是什么颜色的？", "图片里的车是什么颜色？"),
    ("这辆车是什么牌子？", "图中这辆车的牌子是什么？"),
    ("图里有没有狗？", "图中有狗吗？"),
    ("图中有两只猫吗？", "图中是不是有2只猫？"),
]


@pytest.mark.parametrize(("guard", "one", "other"), DROPPED)
def test_what_means_something_else_is_dropped_by_the_guard_for_it(
    guard: str, one: str, other: str
) -> None:
    check = getattr(guards, guard)
    assert not check(read(one), read(other))
    assert not check(read(other), read(one))
    assert is_another_question(read(one), read(other))


@pytest.mark.parametrize(("one", "other"), KEPT)
def test_what_only_says_it_in_another_way_is_kept(one: str, other: str) -> None:
    failed = [g.__name__ for g in GUARDS if not g(read(one), read(other))]
    assert failed == []
    assert not is_another_question(read(other), read(one))


@pytest.mark.parametrize(
    "text", ["", "?", "   ", "💥", "1", "不", "图", "'", "x" * 10_000, "\ud83d"]
)
def test_any_text_is_read_and_is_like_itself(text: str) -> None:
    assert not is_another_question(read(text), read(text))


def test_every_guard_is_tested_on_both_sides() -> None:
    assert {g.__name__ for g in GUARDS} == {guard for guard, _, _ in DROPPED}


def test_few_of_the_pairs_that_differ_in_meaning_pass_the_guards(data_dir: Path) -> None:
    rows = (data_dir / "questions" / "must_not_hit.jsonl").read_text().splitlines()
    passed: Counter[str] = Counter()
    for row in map(json.loads, rows):
        if not is_another_question(read(row["a"]), read(row["b"])):
            passed[row["kind"]] += 1
    assert set(passed) <= {"one-token-ins/del", "one-token-subst"}
    assert passed.total() <= 0.01 * len(rows)
