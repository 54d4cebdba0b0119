"""Who sends the requests that handlers get."""

from __future__ import annotations

import gradio as gr
from starlette.requests import Request


def visitor(
    language: str = "en-US,en;q=0.9", session: str = "one", user: str | None = None
) -> gr.Request:
    """A request of a browser that prefers this language; `user` has logged in."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"accept-language", language.encode())],
    }
    return gr.Request(request=Request(scope), username=user, session_hash=session)
