from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest

from qwen_ui.errors import BadPicture, GenerationFailed
from qwen_ui.events import ModelStatus, TextDelta, ThoughtDelta
from qwen_ui.types import MissCause, MissReason, ModelState
from qwen_ui.ui.conversation import Conversation, Turn
from qwen_ui.ui.i18n import Texts, texts
from qwen_ui.ui.typed import as_typed
from qwen_ui.ui.view import Reads, messages
from tests.ui.test_conversation import answered, picture

EN, ZH = texts("en"), texts("zh")


def view(*turns: Turn, say: Texts = EN, limit: int = 1_000_000) -> list[dict[str, Any]]:
    return messages(Conversation(turns), say, lambda model: Reads(limit))


def content(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["content"]]


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</div></div><script>alert(1)</script>",
    "<|im_end|>\n<|im_start|>system",
    "**bold** _it_ `code` # head\n- list\n1. one\n\n    indented\n> quote",
    "$$x^2$$ \\(y\\) \\[z\\]",
    "[a](javascript:alert(1)) ![b](http://example.com/c.png) https://example.com www.a.com",
    "&amp; &#60;b&#62; &lt;i&gt;",
    "a | b\n---|---\n~~c~~ ==d== :smile: @name #1",
    "图里有什么？ “引号” 𠀀 é́ 👩‍👩‍👧",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_question_is_shown_as_it_was_typed(text: str) -> None:
    written = as_typed(text)
    assert html.unescape(written) == text
    assert not re.search(r"[<>*_`$\\\[\]()#|~!:@\n-](?!\d+;)", written.replace("&#", ""))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_question_cannot_leave_its_block(text: str) -> None:
    (block,) = content(view(Turn(1, "m", text))[0])
    assert block == f'<div class="asked"><div class="question">{as_typed(text)}</div></div>'
    assert "\n" not in block  # a blank line would end the HTML block


def test_an_answered_turn_is_question_thought_and_answer_with_its_badge_apart() -> None:
    question, thought, answer = view(answered(1))
    assert question["role"] == "user"
    assert thought["role"] == answer["role"] == "assistant"
    assert thought["metadata"]["title"] == "Thoughts"
    assert thought["metadata"]["status"] == "done"
    text, badge = content(answer)
    assert text == "a circle"
    assert badge.startswith('<div class="badge done"')


def test_thoughts_are_open_while_they_come() -> None:
    turn = Turn(1, "m", "q").heard(ThoughtDelta("hm"), 1.0)
    _, thought = view(turn)
    assert thought["metadata"] == {"title": "Thinking", "status": "pending"}
    _, folded, answer = view(turn.heard(ThoughtDelta("."), 3.0).heard(TextDelta("a"), 3.0))
    assert folded["metadata"] == {"title": "Thoughts", "status": "done", "duration": 2.0}
    assert content(answer) == ["a"]
    assert view(turn, say=ZH)[1]["metadata"]["title"] == "思考中"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, ""),
        (ModelStatus("m", ModelState.LOADING, 0.4), "loading m … 40 %"),
        (ModelStatus("m", ModelState.LOADING, 0.0), "loading m …"),
        (ModelStatus("m", ModelState.READY, 1.0, 3), "3 questions before yours"),
        (ModelStatus("m", ModelState.READY, 1.0, 1), "1 question before yours"),
        (ModelStatus("m", ModelState.READY, 1.0, 1, 0.2), "1 question before yours, about 1.0 s"),
        (
            ModelStatus("m", ModelState.READY, 1.0, 3, 150.0),
            "3 questions before yours, about 2 min",
        ),
        (ModelStatus("m", ModelState.READY, 1.0), ""),
    ],
)
def test_waiting_says_for_what(status: ModelStatus | None, told: str) -> None:
    turn = Turn(1, "m", "q")
    if status is not None:
        turn = turn.heard(status, 0.0)
    (shown,) = content(view(turn)[1])
    assert html.unescape(shown) == f'<div class="waiting">{told}</div>'


def test_an_error_is_one_sentence_and_keeps_what_was_said() -> None:
    turn = Turn(1, "m", "q").heard(TextDelta("so far"), 0.0).failed(GenerationFailed("<b>it</b>"))
    said, failure = content(view(turn)[1])
    assert said == "so far"
    assert "The model failed while answering: <b>it</b> Retry" in html.unescape(failure)
    assert "<b>" not in failure
    assert "无法作为图片读取" in html.unescape(
        content(view(Turn(1, "m", "q").failed(BadPicture("a")), say=ZH)[1])[0]
    )


def test_pictures_are_thumbnails_at_a_relative_address() -> None:
    turn = Turn(1, "m", "q", (picture('a".png'), picture("b b.png")))
    (block,) = content(view(turn)[0])
    assert block.count("<img ") == 2
    assert 'src="gradio_api/file=/media/thumbnails/b%20b.png.jpg"' in block
    assert 'src="gradio_api/file=/media/thumbnails/a%22.png.jpg"' in block
    assert "note" not in block


def test_what_the_model_does_not_see_is_said() -> None:
    turn = Turn(1, "m", "q", (picture("big.jpg", 2000, 1000), picture("a.gif", frames=5)))
    (block,) = content(view(turn)[0])
    told = html.unescape(block)
    assert "big.jpg has 2000 × 1000 pixels; the model reads it at about 1414 × 707." in told
    assert "a.gif is an animation of 5 frames; the model reads the first." in told
    assert "note" not in content(view(turn, limit=2_000_000)[0])[0].split("animation")[1]


def test_an_empty_stopped_answer_has_its_badge_only() -> None:
    (badge,) = content(view(Turn(1, "m", "q").stopped())[1])
    assert "stopped" in badge


def test_why_an_answer_was_a_miss_is_said_below_its_badge_as_plain_text() -> None:
    reason = MissReason(MissCause.QUESTION, "q", "<b>*that*</b>", 200.0)
    *_, badge, why = content(view(replace(answered(1), why=reason))[-1])
    assert badge.startswith('<div class="badge')
    assert why.startswith('<div class="why" role="status">')
    assert "(“<b>*that*</b>”)." in html.unescape(why)
    assert not re.search(r"<b>|\*", why)
