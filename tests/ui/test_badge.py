from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from qwen_ui.errors import OutOfMemory
from qwen_ui.events import RECORDED, CacheStatus, Usage
from qwen_ui.types import FinishReason, Match, MissCause, MissReason
from qwen_ui.ui.badge import badge, duration
from qwen_ui.ui.conversation import Turn, TurnState
from qwen_ui.ui.i18n import Texts, texts

EN, ZH = texts("en"), texts("zh")
HIT = Turn(
    1, "m", "q", state=TurnState.DONE, answer="a", finish=FinishReason.STOP,
    cache=CacheStatus("qwen3vl:m:1:2", hit=True, tier="l1", age_s=120, ttl_s=60, lookup_s=0.003),
    usage=Usage(10, 20, 0.003, 0.003, 0.0, saved_s=2.4, saved_busy_s=2.2),
)  # fmt: skip
MISS = Turn(
    1, "m", "q", state=TurnState.DONE, answer="a", finish=FinishReason.STOP,
    cache=CacheStatus("qwen3vl:m:1:2", fwd="miss"),
    stored=CacheStatus("qwen3vl:m:1:2", fwd="miss", stored=True, ttl_s=86_400),
    usage=Usage(10, 127, 0.1, 3.1, 3.0),
)  # fmt: skip


def equivalent(asked: str) -> Turn:
    status = CacheStatus("k", hit=True, tier="l1", age_s=120, lookup_s=0.003, asked=asked)
    return replace(HIT, cache=replace(status, match=Match.EQUIVALENT))


def shown(turn: Turn, say: Texts = EN) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", badge(turn, say)))


WHY = " · why a miss?"


def tip(turn: Turn, say: Texts = EN) -> str:
    found = re.search(r'title="([^"]*)"', badge(turn, say))
    assert found is not None
    return html.unescape(found[1])


def test_a_hit_says_how_fast_and_what_it_saved() -> None:
    assert shown(HIT) == "cached · 3 ms · saved 2.4 s"
    assert shown(HIT, ZH) == "来自缓存 · 3 毫秒 · 节省 2.4 秒"
    assert 'class="badge hit"' in badge(HIT, EN)


def test_the_tooltip_of_a_hit_has_tier_age_and_key() -> None:
    assert tip(HIT) == "From the cache (memory), 2 min old. Key qwen3vl:m:1:2"
    assert tip(HIT, ZH) == "来自缓存（内存），2 分钟前的回答。键 qwen3vl:m:1:2"


def test_another_servers_answer_is_called_recorded() -> None:
    for turn in (HIT, equivalent("What's this")):
        assert turn.cache is not None
        recorded = replace(turn, cache=replace(turn.cache, detail=RECORDED))
        assert " · recorded · 3 ms" in shown(recorded)
        assert " · 录存的回答 · " in shown(recorded, ZH)
        assert "another server" in tip(recorded)
        assert "另一台服务器" in tip(recorded, ZH)
        assert "recorded" not in shown(turn) + tip(turn)


def test_tokens_that_nobody_counted_are_not_told() -> None:
    usage = Usage(0, 0, 0.1, 3.1, 3.0)
    assert shown(replace(MISS, usage=usage)) == "3.1 s · why a miss?"
    assert tip(replace(MISS, usage=usage)).startswith("Computed now, first words after 100 ms;")
    cut = replace(MISS, usage=usage, finish=FinishReason.LENGTH)
    assert shown(cut) == "3.1 s · cut at the longest length · why a miss?"


def test_a_miss_says_what_the_model_knew_already() -> None:
    usage = Usage(1100, 127, 0.1, 3.1, 3.0, cached_tokens=1029, known_pictures=1)
    turn = replace(MISS, usage=usage)
    assert shown(turn) == "3.1 s · 42 tokens/s · picture known · why a miss?"
    assert shown(turn, ZH) == "3.1 秒 · 42 词元/秒 · 图片已读过 · 为何未命中？"
    assert "1029 of those read were known from before." in tip(turn)
    assert "known" not in badge(MISS, EN)


def test_an_equivalent_hit_says_what_its_answer_was_given_to() -> None:
    turn = equivalent("What is *this*?")
    assert shown(turn) == "cached: answer to “What is *this*?” · 3 ms · saved 2.4 s"
    assert shown(turn, ZH) == "来自缓存：“What is *this*?”的回答 · 3 毫秒 · 节省 2.4 秒"
    assert tip(turn).startswith(
        "The same question in other words was “What is *this*?”. Retry asks the model with yours."
    )
    assert "“What is *this*?”" in tip(turn, ZH)
    assert 'class="badge hit"' in badge(turn, EN)


def test_a_long_question_is_cut_in_the_badge_and_whole_in_the_tooltip() -> None:
    asked = "Is it so\n\nor  not, " * 20
    turn = equivalent(asked)
    assert len(shown(turn)) < 110
    assert "…”" in shown(turn)
    assert asked in tip(turn)
    assert "\n" not in badge(turn, EN)  # a blank line would end the block of HTML


def test_nothing_of_a_question_is_read_as_markdown_or_html() -> None:
    asked = '<b>"x"</b> $x^2$ *a* `b` [c](d)'
    turn = equivalent(asked)
    assert asked in shown(turn)
    assert not re.search(r"[$*`\[]|<b>", badge(turn, EN))


def test_a_miss_says_how_long_and_how_fast() -> None:
    assert shown(MISS) == "3.1 s · 42 tokens/s" + WHY
    assert shown(MISS, ZH) == "3.1 秒 · 42 词元/秒 · 为何未命中？"
    assert "Stored for 24 h. Key qwen3vl:m:1:2" in tip(MISS)


def test_a_stopped_answer_says_so_and_that_it_is_not_stored() -> None:
    turn = replace(
        MISS, state=TurnState.STOPPED, finish=FinishReason.CANCELLED, usage=None, stored=None
    )
    assert shown(turn) == "stopped"
    assert shown(turn, ZH) == "已停止"
    assert tip(turn) == "Not stored."


def test_a_cut_answer_says_where() -> None:
    turn = replace(MISS, finish=FinishReason.LENGTH)
    assert shown(turn) == "3.1 s · 42 tokens/s · cut at 127 tokens" + WHY
    assert shown(replace(HIT, finish=FinishReason.LENGTH), ZH).endswith("在 20 个词元处截断")


def test_thoughts_that_were_cut_are_named() -> None:
    assert shown(replace(MISS, finish=FinishReason.THOUGHT)).endswith(f" · thoughts cut short{WHY}")


def test_a_full_context_is_named() -> None:
    assert shown(replace(MISS, finish=FinishReason.CONTEXT)).endswith("the context is full" + WHY)


def test_a_shared_answer_is_named() -> None:
    turn = replace(MISS, cache=CacheStatus("k", fwd="miss", collapsed=True))
    assert shown(turn).endswith("shared with a running answer")


def test_a_retried_answer_passed_the_cache_by() -> None:
    assert "passed by" in tip(replace(MISS, cache=CacheStatus("k", fwd="bypass")))


def test_one_token_has_no_speed() -> None:
    turn = replace(MISS, usage=Usage(1, 1, 0.5, 0.5, 0.5))
    assert shown(turn) == "500 ms" + WHY


@pytest.mark.parametrize("state", [TurnState.WAITING, TurnState.THINKING, TurnState.ANSWERING])
def test_a_running_answer_has_no_badge(state: TurnState) -> None:
    assert badge(replace(MISS, state=state), EN) == ""


def test_a_failed_answer_has_no_badge() -> None:
    assert badge(Turn(1, "m", "q").failed(OutOfMemory()), EN) == ""


def test_what_a_key_holds_cannot_leave_the_tooltip() -> None:
    turn = replace(HIT, cache=CacheStatus('"><script>', hit=True, tier="l2", lookup_s=0.001))
    assert "<script" not in badge(turn, EN)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "1 ms"), (0.0004, "1 ms"), (0.0034, "3 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"),
        (2.44, "2.4 s"), (12.4, "12 s"), (99.4, "99 s"), (120, "2 min"), (86_400, "24 h"),
    ],
)  # fmt: skip
def test_durations_are_rounded_to_what_is_read(seconds: float, told: str) -> None:
    assert duration(seconds, EN) == told


def test_a_miss_that_another_reader_shared_or_that_was_stopped_is_not_asked_why() -> None:
    assert MISS.cache is not None
    shared = replace(MISS, cache=replace(MISS.cache, collapsed=True))
    bypassed = replace(MISS, cache=replace(MISS.cache, fwd="bypass"))
    stopped = replace(MISS, state=TurnState.STOPPED)
    explained = replace(MISS, why=MissReason(MissCause.ABSENT))
    for turn in (HIT, shared, bypassed, stopped, explained):
        assert WHY not in shown(turn)
    assert '<button type="button" class="why" value="1">' in badge(MISS, EN)


def test_an_equivalent_hit_offers_to_ask_the_model_while_it_is_the_last_turn() -> None:
    turn = equivalent("What is this?")
    assert 'class="ask-model"' in badge(turn, EN, last=True)
    assert badge(turn, EN, last=True).endswith(">ask the model</button></div>")
    assert "button" not in badge(turn, EN)
    assert "button" not in badge(HIT, EN, last=True)
