"""One attempt: a request posted to one server, its answer read as it comes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from qwen_ui.engines.openai_wire import Reading
from qwen_ui.engines.trouble import Retry, Trouble, failed, of_response, of_transport
from qwen_ui.remote_errors import RemoteCut, RemoteSlow

CONNECT_S = 5.0

_LONGEST_LINE = 16 * 2**20
_LAST_S = 1.0  # after the last word, for the counts and the end of the stream
_DONE = "[DONE]"
_ALIVE = ""  # a comment: llama.cpp encodes the picture of another question


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may be silent, in seconds: before the first token, and between two."""

    first_token_s: float = 120.0
    silence_s: float = 45.0  # llama.cpp tells every 30 that it is alive


@dataclass(frozen=True, slots=True)
class Post:
    """A request on its way to one server."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]


async def exchange(
    client: httpx.AsyncClient, post: Post, reading: Reading, patience: Patience
) -> None:
    """Read one answer to its end. Cancelling closes the connection.

    Raises Trouble; after the first word it is one that is never tried again.
    """
    try:
        await _read(client, post, reading, patience)
        reading.check()
    except httpx.HTTPError as error:
        if reading.ended:
            return  # only the counts are missing
        if reading.spoke:
            raise Trouble(RemoteCut(), Retry.NEVER, fault=True) from error
        raise of_transport(error, post.body["model"]) from error
    except Trouble as trouble:
        if reading.spoke:
            trouble.retry = Retry.NEVER
        raise


async def _read(
    client: httpx.AsyncClient, post: Post, reading: Reading, patience: Patience
) -> None:
    clock = asyncio.get_running_loop().time
    waits_s, over = patience.first_token_s, False
    try:
        async with asyncio.timeout(waits_s) as limit:
            sent = await asyncio.to_thread(json.dumps, post.body)  # megabytes, with pictures
            async with aclosing(_payloads(client, post, sent)) as payloads:
                async for payload in payloads:
                    if payload == _DONE:
                        over = True
                    elif payload != _ALIVE:
                        reading.push(payload)
                    elif over or reading.ended:
                        continue
                    if over or reading.ended or reading.spoke:
                        waits_s = _LAST_S if over or reading.ended else patience.silence_s
                        limit.reschedule(clock() + waits_s)
    except TimeoutError:
        if not (over or reading.ended):
            slow = RemoteSlow(seconds=math.ceil(waits_s))
            raise Trouble(slow, Retry.ELSEWHERE, fault=True) from None


async def _payloads(client: httpx.AsyncClient, post: Post, sent: str) -> AsyncGenerator[str, None]:
    """The data of each event of the stream; the whole body where it is no stream.

    Read to the end, not only to [DONE], so that the connection can be used again.
    """
    async with client.stream("POST", post.url, headers=post.headers, content=sent) as response:
        if response.status_code != 200:
            await response.aread()
            raise of_response(response, post.body["model"])
        kind = response.headers.get("content-type", "")
        if "json" in kind:
            yield "".join([line async for line in _lines(response)])
        elif "html" in kind:
            raise failed("it answers with a web page")
        else:
            async for line in _lines(response):
                name, _, value = line.partition(":")
                if name == "data" and value.strip():
                    yield value.strip()
                elif line.startswith(":"):
                    yield _ALIVE


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Split at line feeds only: `aiter_lines` splits at U+2028 too, in the middle of an answer."""
    rest = bytearray()
    async for piece in response.aiter_bytes():
        rest += piece
        if len(rest) > _LONGEST_LINE:
            raise failed("its answer has no end")
        *whole, last = rest.split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
        rest = bytearray(last)
    yield rest.decode(errors="replace")
