"""How long an answer is kept."""

from __future__ import annotations

import math

import pytest

from cache_store.ttl import LONGEST_S, is_about_now, keep_s
from cache_store.types import CachePolicy, ImagePart
from tests.cache_store.samples import CAT, QUERY, asked, query, user

POLICY = CachePolicy(ttl_s=1000, ttl_now_s=10)


@pytest.mark.parametrize("asked_s", [math.inf, 1e300, LONGEST_S + 1])
def test_for_ever_is_the_longest_time_that_there_is(asked_s: float) -> None:
    assert keep_s(QUERY, POLICY, asked_s) == LONGEST_S
    endless = CachePolicy(ttl_s=asked_s, ttl_now_s=math.inf)
    assert keep_s(QUERY, endless, None) == LONGEST_S
    assert keep_s(asked("What is it now?"), endless, None) == LONGEST_S


def test_no_number_is_no_time() -> None:
    assert keep_s(QUERY, POLICY, math.nan) == 0
    assert keep_s(QUERY, POLICY, -math.inf) < 0
    with pytest.raises(ValueError, match="numbers of seconds"):
        CachePolicy(ttl_s=math.nan)
    with pytest.raises(ValueError, match="numbers of seconds"):
        CachePolicy(ttl_now_s=math.nan)


@pytest.mark.parametrize(
    "text",
    [
        "What is he doing now?",
        "Is it open TODAY?",
        "Who is currently president?",
        "What is the latest model?",
        "Is today's date shown?",
        "现在几点？",
        "今天天气怎么样？",
        "最新的款式是哪个？",
        "現在幾點？",
        "目前有几个人？",
        "What is he doing ｎｏｗ？",
        "What is he doing n\u200bow?",
        "What is on right-now?",
        "What is_now_ open?",
        "What is up-to-date here?",
        "At  the\nmoment, who is there?",
        "Is it open this week?",
        "What is the current president's name?",
        "今 天是几号？",
        "今\u3000天是几号？",
        "現 在幾點？",
        "此時有幾個人？",
        "Today’s menu?",
        "TODAY'S MENU?",
    ],
)
def test_a_question_about_now_is_kept_for_minutes(text: str) -> None:
    assert keep_s(asked(ImagePart(CAT), text), POLICY, None) == 10


@pytest.mark.parametrize(
    "text",
    [
        "Is there snow?",
        "Is this a well-known place?",
        "What time is it on the clock?",
        "Is the current strong?",
        "What is this?",
        "这是什么？",
        "图中有几个人？",
        "天空是什么颜色？",
        "Do you know who this is?",
        "Who will renown him?",
        "Is the electric current shown?",
        "Is this morning or evening?",
        "人出现在哪里？",
        "哪辆车离我最近？",
        "Is this a still life?",
    ],
)
def test_any_other_question_is_kept_for_the_policys_time(text: str) -> None:
    assert keep_s(asked(ImagePart(CAT), text), POLICY, None) == 1000


def test_only_the_last_turn_asks() -> None:
    past = query(turns=(user("What is new now?"), user("Why?")))
    assert keep_s(past, POLICY, None) == 1000
    assert keep_s(asked("Look:", ImagePart(CAT), "what is it now?"), POLICY, None) == 10


def test_words_that_only_contain_it_are_not_about_now() -> None:
    assert not is_about_now("Is there snow on the roof, as far as is known?")
    assert is_about_now("What is the latest version?")
    assert is_about_now("现在几点？")


@pytest.mark.parametrize("asked_s", [0.0, 5.0, 5000.0])
def test_what_a_request_asks_for_beats_the_policy(asked_s: float) -> None:
    assert keep_s(asked("What is he doing now?"), POLICY, asked_s) == asked_s
    assert keep_s(asked("What is this?"), POLICY, asked_s) == asked_s


def test_the_rule_never_makes_it_longer() -> None:
    assert keep_s(asked("Now?"), CachePolicy(ttl_s=3, ttl_now_s=10), None) == 3
    assert keep_s(asked("Now?"), CachePolicy(ttl_s=0), None) == 0
