"""Forgetting that a store could not do while it was out: done when it is back, by a thread."""

from __future__ import annotations

import logging
import threading

from cache_store.errors import StoreUnavailable
from cache_store.stores.base import Store

log = logging.getLogger(__name__)

_FIRST_S = 0.05
_LONGEST_S = 1.0


class Owed:
    """The tags that `store` has yet to forget; None stands for everything.

    While there is one, what the store holds is not to be trusted. It is lost with the process.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._tags: dict[str | None, None] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def __bool__(self) -> bool:
        return bool(self._tags)

    def add(self, tag: str | None) -> None:
        with self._lock:
            self._tags[tag] = None
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._work, name="owed", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        if self._tags:
            log.error("the store was not back in time: it still holds what was to be forgotten")

    def _work(self) -> None:
        wait_s = _FIRST_S
        while not self._closing.wait(wait_s):
            with self._lock:
                if not self._tags:
                    self._thread = None
                    return
                tag = next(iter(self._tags))
            try:
                if tag is None:
                    self._store.clear()
                else:
                    self._store.forget(tag)
            except StoreUnavailable:
                wait_s = min(2 * wait_s, _LONGEST_S)
                continue
            wait_s = 0.0
            with self._lock:
                del self._tags[tag]
