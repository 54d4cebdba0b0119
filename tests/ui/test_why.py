from __future__ import annotations

import pytest

from cache_store.explain import Field
from qwen_ui.types import MissCause, MissReason
from qwen_ui.ui.i18n import languages, texts
from qwen_ui.ui.why import sentence

EN, ZH = texts("en"), texts("zh")


def test_the_cache_names_no_cause_that_the_page_cannot_say() -> None:
    assert {field.value for field in Field} <= {cause.value for cause in MissCause}


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("cause", MissCause)
def test_every_cause_is_one_sentence(cause: MissCause, language: str) -> None:
    said = sentence(MissReason(cause, "asked", "kept", 200.0), texts(language))
    assert said
    assert "{" not in said
    assert said[-1] in ".。"


def test_another_wording_is_told_with_its_age() -> None:
    reason = MissReason(MissCause.QUESTION, "What  is\nit?", "What\n is this?", 200.0)
    assert sentence(reason, EN) == (
        "Not cached: the nearest answer, 3 min old, was given to another wording (“What is this?”)."
    )
    assert sentence(reason, ZH) == (
        "未命中：最接近的回答（3 分钟前）对应的是另一种问法（即“What is this?”）。"
    )


def test_what_differs_besides_is_named_too() -> None:
    also = (MissCause.PICTURES, MissCause.QUESTION)
    said = sentence(MissReason(MissCause.MODEL, "a", "b", 200.0, also), EN)
    assert said.endswith("another model (“b”) and other pixels and another wording.")


def test_what_was_said_in_another_conversation_is_not_told() -> None:
    reason = MissReason(MissCause.HISTORY, "1. user: mine", "1. user: a secret", 5.0)
    assert "secret" not in sentence(reason, EN)
