"""The conversation as a value: turns, what each one heard, and what the model is sent of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from qwen_ui.errors import QwenUIError
from qwen_ui.events import (
    CacheStatus,
    ChatEvent,
    Finish,
    ModelStatus,
    TextDelta,
    ThoughtDelta,
    Usage,
)
from qwen_ui.types import Attachment, FinishReason, Message, MissReason, Suggestion


class TurnState(StrEnum):
    """How far a turn's answer is."""

    WAITING = "waiting"  # nothing was heard yet
    THINKING = "thinking"
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


RUNNING = (TurnState.WAITING, TurnState.THINKING, TurnState.ANSWERING)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what was heard of its answer. `id` tells turns apart over edits.

    `cache` and `stored` are the first and the last CacheStatus; `thought_s` the seconds from the
    first thought to the first word of the answer. `repeats`: the id of the earlier turn that asked
    the same (see Conversation.asked_before). `asked_at` is in seconds since the epoch; `why` is
    there once somebody asked why it was a miss.
    """

    id: int
    model: str
    text: str
    pictures: tuple[Attachment, ...] = ()  # and videos
    repeats: int | None = None
    state: TurnState = TurnState.WAITING
    answer: str = ""
    thought: str = ""
    thought_began: float = 0.0
    thought_s: float = 0.0
    waiting: ModelStatus | None = None
    cache: CacheStatus | None = None
    stored: CacheStatus | None = None
    usage: Usage | None = None
    finish: FinishReason | None = None
    error: QwenUIError | None = None
    asked_at: float = 0.0
    why: MissReason | None = None

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def missed(self) -> bool:
        """The cache was asked and had no answer, and nobody else was getting it just then."""
        return self.cache is not None and self.cache.fwd == "miss" and not self.cache.collapsed

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """Similar questions to ask in this one's place. A repeated question has none: it was asked
        with another history than the one it stands in."""
        return () if self.cache is None or self.repeats is not None else self.cache.similar

    def heard(self, event: ChatEvent, now: float) -> Turn:
        """The turn after one more event; `now` in seconds of any steady clock."""
        match event:
            case CacheStatus():
                return replace(self, stored=event) if event.stored else replace(self, cache=event)
            case ModelStatus():
                return replace(self, waiting=event)
            case ThoughtDelta(text):
                began = self.thought_began or now
                return replace(
                    self,
                    state=TurnState.THINKING,
                    thought=self.thought + text,
                    thought_began=began,
                    thought_s=now - began,
                )
            case TextDelta(text):
                return replace(self, state=TurnState.ANSWERING, answer=self.answer + text)
            case Usage():
                return replace(self, usage=event)
            case Finish(reason):
                stopped = reason is FinishReason.CANCELLED
                return replace(
                    self, state=TurnState.STOPPED if stopped else TurnState.DONE, finish=reason
                )
            case _:
                assert_never(event)

    def stopped(self) -> Turn:
        """The visitor wants no more of it."""
        return replace(self, state=TurnState.STOPPED, finish=FinishReason.CANCELLED)

    def failed(self, error: QwenUIError) -> Turn:
        """The answer ended in an error."""
        return replace(self, state=TurnState.FAILED, error=error)

    def shows(self, other: Turn) -> bool:
        """Whether both turns bring the same pictures and videos, in the same order."""
        return [p.parts for p in self.pictures] == [p.parts for p in other.pictures]

    def question(self) -> Message:
        """As the model gets it: pictures first."""
        attached = [part for picture in self.pictures for part in picture.parts]
        return Message("user", (*attached, self.text))


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns, oldest first."""

    turns: tuple[Turn, ...] = ()

    def with_turn(self, turn: Turn) -> Conversation:
        """`turn` takes the place of the turn of that id, or comes last."""
        if any(old.id == turn.id for old in self.turns):
            return Conversation(tuple(turn if old.id == turn.id else old for old in self.turns))
        return Conversation((*self.turns, turn))

    def before(self, id: int) -> Conversation:
        """What came before the turn `id`; everything when there is no such turn."""
        for place, turn in enumerate(self.turns):
            if turn.id == id:
                return Conversation(self.turns[:place])
        return self

    def turn(self, id: int) -> Turn | None:
        return next((turn for turn in self.turns if turn.id == id), None)

    @property
    def last(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    def asked_before(self, turn: Turn) -> Turn | None:
        """The earlier turn that asked the same: the same text, about the same pictures.

        A question without pictures means those that came last. Only an answer that the model ended
        by itself counts: "go on" after a cut one is no repetition.
        """
        for old in reversed(self.turns):
            original = old.repeats is None and old.finish is FinishReason.STOP
            about_the_same = not turn.pictures or turn.shows(old)
            if original and about_the_same and old.text.strip() == turn.text.strip():
                return old
            if old.pictures and not turn.pictures:
                return None
        return None

    def request(self, turn: Turn) -> list[Message]:
        """What the model is sent for `turn`: a repeated question exactly as it was asked first, so
        that its answer is the same; any other with everything before it."""
        first = None if turn.repeats is None else self.turn(turn.repeats)
        if first is None:
            return [*self.history(), turn.question()]
        return [*self.before(first.id).history(), first.question()]

    def history(self) -> list[Message]:
        """What the model is told of earlier turns: questions with an answer, without thoughts.

        A stopped answer counts as far as the visitor saw it; failed, empty and repeated ones are
        left out.
        """
        messages: list[Message] = []
        for turn in self.turns:
            ended = turn.state in (TurnState.DONE, TurnState.STOPPED)
            if turn.answer and ended and turn.repeats is None:
                messages += [turn.question(), Message("assistant", (turn.answer,))]
        return messages
