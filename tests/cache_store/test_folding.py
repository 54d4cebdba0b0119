"""What two questions may share: the table of pairs, and what holds for every text."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store import questions
from cache_store.folding import chinese
from cache_store.folding.quotations import MARK
from cache_store.questions import FOLD_VERSION, RULES, canonical, fold

Rows = list[list[str]]
TABLE: dict[str, dict[str, Rows]] = tomllib.loads(
    (Path(__file__).parent / "questions.toml").read_text(encoding="utf-8")
)
EQUAL = [(rule, *row) for rule, sides in TABLE.items() for row in sides["equal"]]
DIFFERENT = [(rule, *row) for rule, sides in TABLE.items() for row in sides["different"]]
SPICES = (
    "please Hi, ，。？?!.' \"“”‘’「」`\n\u200b\u200d\ufeff\u00a0\u3000 请问你好谢谢麻烦图中里片啥字"
    "後后發髮ＡＢ²①½ﬁ㎡éÅßİςΣUSaA5👨👩🏴\U000e0067\ufdd0\u0301"
)
texts = st.one_of(st.text(max_size=40), st.text(st.sampled_from(SPICES), max_size=24))
plain = st.text(st.characters(exclude_characters="\"'“”„‟＂〝〞‘’‚‛＇`「」『』﹁﹂﹃﹄«»‹›" + MARK))


@pytest.mark.parametrize(("rule", "one", "other"), EQUAL)
def test_a_rewrite_that_keeps_the_meaning_becomes_equal(rule: str, one: str, other: str) -> None:
    assert one != other
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("rule", "one", "other"), DIFFERENT)
def test_another_question_stays_another(rule: str, one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_every_rule_has_rows_on_both_sides() -> None:
    assert {rule.__name__ for rule in RULES} <= set(TABLE)
    assert all(sides["equal"] and sides["different"] for sides in TABLE.values())
    assert len(EQUAL) >= 150
    assert len(DIFFERENT) >= 150


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_rule_is_idle(rule: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a row of its own would be missed."""
    for name in ("CHARACTERS", "WORDS"):
        rules = getattr(questions, name)
        monkeypatch.setattr(questions, name, tuple(each for each in rules if each is not rule))
    rows = TABLE[rule.__name__]["equal"]  # type: ignore[attr-defined]
    assert any(fold(one) != fold(other) for one, other in rows)


@given(texts)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(texts)
def test_a_fold_is_empty_only_for_an_empty_question(text: str) -> None:
    assert bool(fold(text)) == bool(canonical(text))


@given(texts)
def test_equal_questions_have_equal_folds(text: str) -> None:
    assert fold(canonical(text)) == fold(text)


@given(plain, plain.filter(str.strip), plain, st.sampled_from(['""', "“”", "「」", "«»"]))
def test_what_is_quoted_is_untouched(before: str, quoted: str, after: str, marks: str) -> None:
    folded = fold(f"{before}{marks[0]}{quoted}{marks[1]}{after}")
    kept = canonical(f"-{quoted}-")[1:-1]
    assert kept in folded


@pytest.mark.parametrize(
    "text", ["你好", "please", "?", "？", "谢谢", "请问", "Hi", "!", "。", "请"]
)
def test_a_greeting_alone_is_a_question(text: str) -> None:
    assert fold(text).strip()


@pytest.mark.parametrize(
    "unit", ["x ", "!", "?", " ", "'a ", '"a ', "“", "请问", "a, ", "please ", "图 ", "「", "`"]
)
def test_a_long_text_takes_no_long_time(unit: str) -> None:
    for text in (unit * (4000 // len(unit)), unit * 20_000 + "x"):
        began = time.perf_counter()
        fold(text)
        assert time.perf_counter() - began < 2  # 0.1 s on the slowest machine that was tried


def test_without_opencc_that_rule_is_absent_and_the_version_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert FOLD_VERSION.endswith(chinese.OPENCC_VERSION)
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    assert chinese._load() == ("none", ())
    monkeypatch.setattr(chinese, "_conversions", ())
    assert fold("圖中有幾個人？") == "圖中有幾個人"
