"""The servers of one remote model: which one is asked, and when one is left alone.

They are asked in the order in which they were given: the next one only when those before it fail,
and only before the first token. A server that cannot be reached, or fails several times in a row,
is not asked again until it tells its models; nobody waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import httpx

from qwen_ui.engines.remote_identity import ask_identity, authorization, may_answer_for
from qwen_ui.engines.trouble import Retry, Trouble
from qwen_ui.remote_errors import RemoteBusy, RemoteChanged

log = logging.getLogger(__name__)

T = TypeVar("T")

_FAULTS = 3  # in a row, and the server is left alone
_PAUSES_S = (0.5, 1.5)  # before it is asked again
_LONGEST_WAIT_S = 10.0  # that a server may ask for; longer is told to people instead
_FIRST_LOOK_S, _LAST_LOOK_S = 0.25, 10.0
_SURE_FOR_S = 3.0  # that it has the model still: one that starts anew takes longer to load it


class Endpoint:
    """One server, on the engine's event loop."""

    def __init__(self, url: str, key: str | None, model: str, revision: str) -> None:
        self.url = url
        self.headers = authorization(key)
        self.refused_fields: set[str] = set()  # of openai_wire.OPTIONAL
        self.trouble: Trouble | None = None  # why it is left alone; None while it is not
        self._key = key
        self._model = model
        self._revision = revision
        self._verified = False
        self._verified_at = 0.0  # on the loop's clock
        self._faults = 0
        self._watcher: asyncio.Task[None] | None = None

    async def verify(self, client: httpx.AsyncClient) -> None:
        """See that it has the model whose answers are asked for. Raises Trouble.

        Again after a while: one that is started anew, with another build, while nobody asks has
        failed nobody.
        """
        clock = asyncio.get_running_loop().time
        if self._verified and clock() < self._verified_at + _SURE_FOR_S:
            return
        try:
            told = await ask_identity(client, self.url, self._key, self._model)
        except Trouble as trouble:
            if not self._verified or isinstance(trouble.error, RemoteBusy):
                self._verified = False  # it loads, and who knows what
                raise
            self._verified_at = clock()
            return  # the question itself will show what is wrong, if anything is
        if not may_answer_for(self._revision, told):
            self._verified = False
            log.info("%s has another build of %s: %s", self.url, self._model, told)
            raise Trouble(RemoteChanged(model=self._model), Retry.ELSEWHERE, down=True)
        self._verified, self._verified_at = True, clock()

    def succeeded(self) -> None:
        self._faults = 0

    def failed(self, trouble: Trouble, client: httpx.AsyncClient) -> None:
        """Count it; leave the server alone when that is enough."""
        log.info("%s: %s (%r)", self.url, trouble, trouble.__cause__)
        self._faults += trouble.fault
        if isinstance(trouble.__cause__, httpx.TransportError):
            self._verified = False  # it may have been started anew, with another build
        if (trouble.down or self._faults >= _FAULTS) and self.trouble is None:
            log.warning("%s is left alone until it is back: %s", self.url, trouble)
            self.trouble = trouble.with_traceback(None)  # which holds what was sent
            self._watcher = asyncio.create_task(self._watch(client))

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    async def _watch(self, client: httpx.AsyncClient) -> None:
        wait_s = _FIRST_LOOK_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LAST_LOOK_S)
            self._verified = False
            try:
                await self.verify(client)
            except Trouble as trouble:
                self.trouble = trouble.with_traceback(None)
                continue
            except Exception:  # what a broken server tells must not end the watch
                log.exception("%s cannot be looked at", self.url)
                continue
            break
        log.warning("%s is back", self.url)
        self.trouble, self._faults, self._watcher = None, 0, None


class Endpoints:
    """All servers of a model."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints

    async def ask(
        self, client: httpx.AsyncClient, attempt: Callable[[Endpoint], Awaitable[T]]
    ) -> T:
        """What `attempt` gives at the first server where it succeeds, retried after a pause where
        that may help. Raises the last Trouble."""
        given_up: set[Endpoint] = set()
        last: Trouble | None = None
        for pause_s in (*_PAUSES_S, None):
            for endpoint in self._usable(given_up):
                try:
                    await endpoint.verify(client)
                    answer = await attempt(endpoint)
                except Trouble as trouble:
                    endpoint.failed(trouble, client)
                    if trouble.retry is Retry.NEVER:
                        raise
                    if trouble.retry is Retry.ELSEWHERE:
                        given_up.add(endpoint)
                    last = trouble
                else:
                    endpoint.succeeded()
                    return answer
            last = last or self._endpoints[0].trouble
            if pause_s is None or not any(self._usable(given_up)):
                break
            if last is not None and last.wait_s > _LONGEST_WAIT_S:
                break
            asked_s = last.wait_s if last is not None else 0.0
            await asyncio.sleep(max(pause_s * random.uniform(0.7, 1.3), asked_s))
        assert last is not None
        raise last.with_traceback(None)  # one that is kept would grow with each who is told

    async def close(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.close()

    def _usable(self, given_up: set[Endpoint]) -> Iterator[Endpoint]:
        return (e for e in self._endpoints if e.trouble is None and e not in given_up)
