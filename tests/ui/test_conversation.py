from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image as PILImage

from qwen_ui.errors import GenerationFailed
from qwen_ui.events import (
    CacheStatus,
    ChatEvent,
    Finish,
    ModelStatus,
    TextDelta,
    ThoughtDelta,
    Usage,
)
from qwen_ui.types import FinishReason, Image, Message, ModelState, Picture
from qwen_ui.ui.conversation import Conversation, Turn, TurnState

USAGE = Usage(5, 3, 0.1, 1.0, 0.9)
ANSWERED: list[ChatEvent] = [
    CacheStatus(key="k", fwd="miss"),
    ThoughtDelta("let me "),
    ThoughtDelta("see"),
    TextDelta("a "),
    TextDelta("circle"),
    CacheStatus(key="k", fwd="miss", stored=True, ttl_s=60.0),
    USAGE,
    Finish(FinishReason.STOP),
]


def picture(
    name: str = "a.png",
    width: int = 8,
    height: int = 8,
    frames: int = 1,
    digest: str = "d" * 64,
) -> Picture:
    image = Image(digest, width, height, lambda: PILImage.new("RGB", (width, height)))
    return Picture(name, name, image, Path("/media/thumbnails") / f"{name}.jpg", frames)


def heard(turn: Turn, events: list[ChatEvent]) -> Turn:
    for second, event in enumerate(events):
        turn = turn.heard(event, float(second))
    return turn


def answered(id: int, text: str = "q") -> Turn:
    return heard(Turn(id, "m", text), ANSWERED)


def test_a_turn_takes_in_every_event() -> None:
    turn = answered(1)
    assert (turn.answer, turn.thought) == ("a circle", "let me see")
    assert turn.state is TurnState.DONE
    assert not turn.running
    assert turn.usage is USAGE
    assert turn.finish is FinishReason.STOP
    assert turn.cache is not None
    assert turn.cache.fwd == "miss"
    assert not turn.cache.stored
    assert turn.stored is not None
    assert turn.stored.ttl_s == 60


def test_thinking_is_timed_until_the_answer_begins() -> None:
    turn = Turn(1, "m", "q").heard(ThoughtDelta("a"), 10.0).heard(ThoughtDelta("b"), 12.5)
    assert (turn.state, turn.thought_s) == (TurnState.THINKING, 2.5)
    assert turn.heard(TextDelta("c"), 20.0).thought_s == 2.5


def test_a_turn_waits_for_its_model() -> None:
    status = ModelStatus("m", ModelState.LOADING, 0.4)
    turn = Turn(1, "m", "q").heard(status, 0.0)
    assert turn.state is TurnState.WAITING
    assert turn.waiting is status


def test_a_cancelled_answer_is_stopped() -> None:
    turn = heard(Turn(1, "m", "q"), [TextDelta("half"), Finish(FinishReason.CANCELLED)])
    assert turn.state is TurnState.STOPPED
    assert turn.answer == "half"


def test_pictures_come_before_the_text() -> None:
    first, second = picture("a"), picture("b")
    question = Turn(1, "m", "what?", (first, second)).question()
    assert question == Message("user", (first.image, second.image, "what?"))


def test_history_has_questions_and_answers_without_thoughts() -> None:
    history = Conversation((answered(1, "one"), answered(2, "two"))).history()
    assert history == [
        Message("user", ("one",)),
        Message("assistant", ("a circle",)),
        Message("user", ("two",)),
        Message("assistant", ("a circle",)),
    ]


def test_a_stopped_answer_stays_in_history_as_far_as_it_was_seen() -> None:
    stopped = Turn(1, "m", "q").heard(TextDelta("half an"), 0.0).stopped()
    assert Conversation((stopped,)).history()[1] == Message("assistant", ("half an",))


def test_failed_empty_and_running_turns_are_left_out_of_history() -> None:
    said = Turn(0, "m", "q").heard(TextDelta("something"), 0.0)
    turns = (
        said.failed(GenerationFailed("x")),
        Turn(2, "m", "q").stopped(),
        heard(Turn(3, "m", "q"), [Finish(FinishReason.STOP)]),
        Turn(4, "m", "q"),
    )
    assert Conversation(turns).history() == []


def test_a_turn_replaces_the_one_of_its_id_or_comes_last() -> None:
    both = Conversation().with_turn(Turn(1, "m", "a")).with_turn(Turn(2, "m", "b"))
    changed = both.with_turn(Turn(1, "m", "c"))
    assert [turn.text for turn in changed.turns] == ["c", "b"]
    assert [turn.text for turn in both.turns] == ["a", "b"]


def test_a_conversation_is_cut_before_a_turn() -> None:
    three = Conversation(tuple(Turn(id, "m", "q") for id in (1, 2, 3)))
    assert [turn.id for turn in three.before(2).turns] == [1]
    assert three.before(99) == three
    assert three.turn(3) == three.turns[2]
    assert three.turn(99) is None


def asked(id: int, text: str, *pictures: Picture, reason: FinishReason = FinishReason.STOP) -> Turn:
    return heard(Turn(id, "m", text, pictures), [TextDelta(f"answer {id}"), Finish(reason)])


def repeated(before: tuple[Turn, ...], text: str, *pictures: Picture) -> int | None:
    first = Conversation(before).asked_before(Turn(99, "m", text, pictures))
    return None if first is None else first.id


CAT, DOG = picture("cat", digest="c" * 64), picture("dog", digest="d" * 64)


def test_the_same_question_about_the_same_pictures_is_a_repetition() -> None:
    turns = (asked(1, "What?", CAT), asked(2, "How many?"))
    assert repeated(turns, "What?", CAT) == 1
    assert repeated(turns, " What? \n") == 1  # no picture: the last one is meant
    assert repeated(turns, "How many?") == 2
    assert repeated(turns, "what?") is None
    assert repeated(turns, "What?", DOG) is None
    assert repeated(turns, "What?", CAT, CAT) is None


def test_a_question_about_another_picture_since_then_is_no_repetition() -> None:
    turns = (asked(1, "What?", CAT), asked(2, "How many?", DOG))
    assert repeated(turns, "What?") is None
    assert repeated(turns, "How many?") == 2
    assert repeated(turns, "What?", CAT) == 1


def test_only_what_the_model_ended_by_itself_can_be_repeated() -> None:
    for reason in (FinishReason.LENGTH, FinishReason.CANCELLED, FinishReason.CONTEXT):
        assert repeated((asked(1, "go on", reason=reason),), "go on") is None


def test_a_repetition_is_asked_as_it_was_first_and_leaves_no_trace() -> None:
    first, second = asked(1, "What?", CAT), asked(2, "How many?")
    again = replace(asked(3, "How many?"), repeats=2)
    once_more = Turn(4, "m", "How many?", repeats=2)
    talk = Conversation((first, second, again))
    as_first = Conversation((first,)).request(Turn(2, "m", "How many?"))
    assert repeated(talk.turns, "How many?") == 2
    assert talk.request(once_more) == as_first
    assert talk.history() == Conversation((first, second)).history()
    of_a_picture = Turn(5, "m", "What?", repeats=1)
    assert talk.request(of_a_picture) == [Message("user", (CAT.image, "What?"))]
