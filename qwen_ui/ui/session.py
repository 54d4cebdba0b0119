"""One open page: its conversation, and the answer that is being given. Thread-safe.

Gradio keeps it in `gr.State` by reference: handlers change it in place, and every view is drawn
from it, so that two handlers that overlap cannot show two truths.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from qwen_ui.errors import QwenUIError
from qwen_ui.events import ChatEvent, Usage
from qwen_ui.runs import Pending
from qwen_ui.types import MissReason
from qwen_ui.ui.conversation import Conversation, Turn


@dataclass(frozen=True, slots=True)
class Run:
    """An answer that the model gives, and the turn that it belongs to."""

    turn: int
    pending: Pending


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said above the box. `refused` are the paths of files that the box is to drop;
    `give_back` undoes its emptying. `at` tells two equal notices apart: each is obeyed once."""

    sentences: tuple[str, ...]
    refused: tuple[str, ...] = ()
    give_back: bool = False
    at: int = field(default_factory=time.time_ns)


class Session:
    """`asking` is held for the length of one question's lookup, by threads only; everything else
    here is short, so that the event loop may call it. `id` is made here and known to no client."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(16)
        self.asking = threading.Lock()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._conversation = Conversation()
        self._editing: int | None = None
        self._run: Run | None = None
        self._begun: Run | None = None
        self._ticket = 0
        self._notice: Notice | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        """Gradio copies the initial value for each visitor."""
        return Session()

    @property
    def conversation(self) -> Conversation:
        with self._lock:
            return self._conversation

    @property
    def busy(self) -> bool:
        """The model is at work, or about to be, for this page."""
        with self._lock:
            return self._run is not None

    @property
    def ticket(self) -> int:
        """Another number whenever there is another run to begin."""
        with self._lock:
            return self._ticket

    @property
    def notice(self) -> Notice | None:
        with self._lock:
            return self._notice

    def tell(self, notice: Notice | None) -> None:
        """Takes the place of the notice before."""
        with self._lock:
            self._notice = notice

    @property
    def editing(self) -> tuple[int, Turn] | None:
        """The turn that the next question replaces, and its place, from 1."""
        with self._lock:
            places = enumerate(self._conversation.turns, 1)
            return next(((n, turn) for n, turn in places if turn.id == self._editing), None)

    def edit(self, id: int | None) -> None:
        with self._lock:
            self._editing = id

    def next_id(self) -> int:
        return next(self._ids)

    def show(self, conversation: Conversation, pending: Pending | None = None) -> None:
        """A question was asked: its turn is the last one. `pending` waits for `begin`."""
        with self._lock:
            self._conversation = conversation
            self._editing = self._notice = None
            if pending is not None:
                self._run = Run(conversation.turns[-1].id, pending)
                self._ticket += 1

    def begin(self) -> Run | None:
        """What to run now; None when somebody has begun it, or it was stopped."""
        with self._lock:
            if self._run is self._begun:
                return None
            self._begun = self._run
            return self._run

    def hear(self, run: Run, events: Iterable[ChatEvent]) -> None:
        """Take in what a run said; of a stopped one only what it cost."""
        now = time.monotonic()
        with self._lock:
            turn = self._conversation.turn(run.turn)
            if turn is None:
                return
            for event in events:
                if turn.running or isinstance(event, Usage):
                    turn = turn.heard(event, now)
            self._conversation = self._conversation.with_turn(turn)
            self._ended(run, turn)

    def fail(self, run: Run, error: QwenUIError) -> None:
        with self._lock:
            turn = self._conversation.turn(run.turn)
            if turn is not None and turn.running:
                self._conversation = self._conversation.with_turn(turn.failed(error))
            if self._run is run:
                self._run = None

    def explained(self, id: int, reason: MissReason) -> None:
        """Somebody asked why a turn was a miss."""
        with self._lock:
            turn = self._conversation.turn(id)
            if turn is not None:
                self._conversation = self._conversation.with_turn(replace(turn, why=reason))

    def stop(self) -> None:
        """Stop the running answer; what was seen of it stays."""
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                return
            run.pending.stop()
            turn = self._conversation.turn(run.turn)
            if turn is not None and turn.running:
                self._conversation = self._conversation.with_turn(turn.stopped())

    def clear(self) -> None:
        """Begin a new conversation."""
        self.stop()
        with self._lock:
            self._conversation, self._editing, self._notice = Conversation(), None, None

    def _ended(self, run: Run, turn: Turn) -> None:
        if not turn.running and self._run is run:
            self._run = None
