"""What goes wrong with another server, and whether asking again is any use."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any

import httpx

from qwen_ui.errors import QwenUIError
from qwen_ui.remote_errors import (
    RemoteBusy,
    RemoteContextTooLong,
    RemoteDown,
    RemoteFailed,
    RemoteLacksModel,
    RemoteRefused,
    RemoteTooBig,
)

# how vLLM, SGLang, llama.cpp and hosted Qwen say that a conversation, or the longest answer to it,
# is too long
_TOO_LONG = re.compile(
    r"(context|model|input)[ _](length|size|window)|too long|max_(model_len|(completion_)?tokens)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile("model '.*' not found")  # a router of llama.cpp
_NO_PICTURES = "image input is not supported"  # llama.cpp without its `--mmproj`
_LONGEST_REASON = 200


class Retry(Enum):
    """Who may be asked again before the first token."""

    NEVER = "never"  # it lies in what is asked, or words were heard already
    ELSEWHERE = "elsewhere"  # another server may do better, this one will not
    AGAIN = "again"  # it may pass


class Trouble(Exception):
    """`error` is what people read. `fault`: the server is ill, so it counts against it; `down`:
    so ill that it is left alone from now on. `wait_s`: how long it asks us to wait."""

    def __init__(
        self,
        error: QwenUIError,
        retry: Retry,
        *,
        fault: bool = False,
        down: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.fault = fault or down
        self.down = down
        self.wait_s = wait_s


def failed(reason: str, retry: Retry = Retry.AGAIN) -> Trouble:
    """The server does something that no server should."""
    return Trouble(RemoteFailed(reason=_line(reason)), retry, fault=True)


def of_transport(error: httpx.HTTPError, model: str) -> Trouble:
    """Nothing that could be read came back."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Trouble(RemoteDown(model=model), Retry.ELSEWHERE, down=True)
    if isinstance(error, httpx.DecodingError):
        return failed("its answer cannot be decoded")
    return failed("it broke off the connection")


def of_status(status: int, message: str, model: str, wait_s: float = 0.0) -> Trouble:
    """The server says no; `message` is its reason."""
    match status:
        case 401 | 403:
            return Trouble(RemoteRefused(model=model), Retry.ELSEWHERE)
        case 404:
            return Trouble(RemoteLacksModel(model=model), Retry.ELSEWHERE)
        case 413:
            return Trouble(RemoteTooBig(), Retry.NEVER)
        case 408 | 429 | 503:
            return Trouble(RemoteBusy(), Retry.AGAIN, wait_s=wait_s)
        case 400 if _NO_MODEL.fullmatch(message):
            return Trouble(RemoteLacksModel(model=model), Retry.ELSEWHERE)
        case 500 if _NO_PICTURES in message:
            return Trouble(RemoteFailed(reason=_line(message)), Retry.NEVER)
        case 400 | 422 if _TOO_LONG.search(message):
            return Trouble(RemoteContextTooLong(), Retry.NEVER)
        case _ if status >= 500:
            return failed(f"HTTP {status} {message}")
        case _ if status >= 400:
            return Trouble(RemoteFailed(reason=_line(f"HTTP {status} {message}")), Retry.NEVER)
        case _:  # a redirection is not followed: the key is for this server alone
            return Trouble(RemoteFailed(reason=f"HTTP {status}, not a model"), Retry.ELSEWHERE)


def of_response(response: httpx.Response, model: str) -> Trouble:
    """Of a response that was read."""
    try:
        message = told(json.loads(response.content))
    except ValueError:
        html = "html" in response.headers.get("content-type", "")
        message = "" if html else response.text
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    if key:  # a page of debugging may repeat the request's headers
        message = message.replace(key, "***")
    return of_status(response.status_code, message, model, _wait_s(response))


def told(answer: Any) -> str:
    """The message of an error in any of the usual shapes; empty where there is none."""
    while isinstance(answer, dict):
        keys = ("error", "message", "detail")
        answer = next((answer[key] for key in keys if answer.get(key)), "")
    return answer if isinstance(answer, str) else json.dumps(answer)


def _wait_s(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:  # a date
        return 0.0


def _line(reason: str) -> str:
    line = " ".join(reason.split())
    short = line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
    return short.rstrip(" .")
