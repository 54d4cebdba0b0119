"""A circuit breaker: a server that fails is left alone until it answers a ping again."""

from __future__ import annotations

import threading
from collections.abc import Callable

_FIRST_S = 0.05
_LONGEST_S = 2.0


class Breaker:
    """Closed while all is well. `open` leaves the pinging to a thread: no caller waits for it."""

    def __init__(self, ping: Callable[[], bool]) -> None:
        """`ping` says whether the server is back, and raises nothing."""
        self._ping = ping
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._prober: threading.Thread | None = None
        self.reason: str | None = None  # why it is open; None while it is closed

    def open(self, reason: str) -> None:
        """From now on `reason` is set, until a ping is answered."""
        with self._lock:
            self.reason = reason
            if self._prober is None and not self._stopped.is_set():
                self._prober = threading.Thread(target=self._probe, name="breaker", daemon=True)
                self._prober.start()

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        with self._lock:
            prober = self._prober
        if prober is not None:
            prober.join()

    def _probe(self) -> None:
        wait_s = _FIRST_S
        while not self._stopped.wait(wait_s):
            if self._ping():
                break
            wait_s = min(2 * wait_s, _LONGEST_S)
        with self._lock:
            self.reason = self.reason if self._stopped.is_set() else None
            self._prober = None
