"""How a question becomes the last turn of a conversation: answered from the cache, or with a run.

Threads only; all but `explain` is called under Session.asking.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from qwen_ui.chat import ChatService
from qwen_ui.errors import QwenUIError
from qwen_ui.runs import Replay
from qwen_ui.types import Attachment, CacheControl, ChatRequest, Visitor
from qwen_ui.ui.conversation import Conversation, Turn, TurnState
from qwen_ui.ui.session import Session


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks in one session for one visitor. BadRequest is raised before anything changed; other
    errors become the answer."""

    service: ChatService
    session: Session
    visitor: Visitor

    def ask(self, text: str, pictures: tuple[Attachment, ...], model: str) -> None:
        """A new question, or an edited one in its old place. Raises errors.BadRequest."""
        base, editing = self.session.conversation, self.session.editing
        if editing is not None:
            _, edited = editing
            base, pictures = base.before(edited.id), edited.pictures + pictures
        turn = Turn(self.session.next_id(), model, text, pictures)
        first = base.asked_before(turn)
        if first is not None:
            turn = replace(turn, repeats=first.id)
        self._look_up(base, turn, CacheControl())

    def again(self, model: str) -> None:
        """The last question; an answer that came is not taken from the cache."""
        self.session.stop()
        last = self.session.conversation.last
        if last is not None:
            again = CacheControl(no_cache=last.state is TurnState.DONE)
            turn = Turn(self.session.next_id(), model, last.text, last.pictures, last.repeats)
            self._look_up(self.session.conversation.before(last.id), turn, again)

    def instead(self, name: str) -> None:
        """A question that was suggested beside the last one, in its place and with all else equal.

        Nothing happens where it is not suggested any more: a click may come late. Raises
        errors.BadRequest.
        """
        conversation = self.session.conversation
        last = conversation.last
        offered = () if last is None else last.suggestions
        chosen = next((one for one in offered if one.name == name), None)
        if last is not None and chosen is not None:
            turn = Turn(self.session.next_id(), last.model, chosen.question, last.pictures)
            self._look_up(conversation.before(last.id), turn, CacheControl())

    def explain(self, id: int) -> None:
        """Find out why a turn was a miss. Raises QwenUIError."""
        conversation = self.session.conversation
        turn = conversation.turn(id)
        if turn is None or turn.cache is None or not turn.missed:
            return
        request = self._request(conversation.before(id), turn, CacheControl())
        reason = self.service.explain(request, turn.cache, turn.asked_at)
        self.session.explained(id, reason)

    def _look_up(self, base: Conversation, turn: Turn, control: CacheControl) -> None:
        self.service.open([turn.question()], model=turn.model)  # before a running answer is stopped
        self.session.stop()
        stopped = [self.session.conversation.turn(old.id) or old for old in base.turns]
        base = Conversation(tuple(stopped))
        turn = replace(turn, asked_at=time.time())
        try:
            found = self.service.lookup(self._request(base, turn, control))
        except QwenUIError as error:
            self.session.show(base.with_turn(turn.failed(error)))
            return
        if isinstance(found, Replay):
            for event in found.events:
                turn = turn.heard(event, 0.0)
            self.session.show(base.with_turn(turn))
        else:
            # what is suggested is shown at once, not when the run begins
            self.session.show(base.with_turn(turn.heard(found.status, 0.0)), found)

    def _request(self, base: Conversation, turn: Turn, control: CacheControl) -> ChatRequest:
        asked = base.request(turn)
        return self.service.open(asked, model=turn.model, cache=control, visitor=self.visitor)
