"""A small OpenAI-compatible server that misbehaves on command."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "Qwen/Qwen3-VL-4B-Instruct"
CARD = {"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 4096}
COUNTED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers are functions that get it, and use what stands here."""

    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self.server.probes += 1
        self.server.on_models(self)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append((body, dict(self.headers)))
            script = self.server.script
            answer = script.popleft() if script else self.server.otherwise
        answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def reply(self, status: int, body: Any, kind: str = "application/json", **more: str) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": kind, **more}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def send(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, payload: Any) -> None:
        self.send(f"data: {json.dumps(payload, ensure_ascii=False)}\n\n")

    def say(self, **delta: str) -> None:
        self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def end(self, reason: str | None = "stop", usage: Any = COUNTED, *, done: bool = True) -> None:
        """The last chunks of a stream: reason, counts, [DONE]; what is None is left out."""
        if reason is not None:
            self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if usage is not None:
            self.event({"choices": [], "usage": usage})
        self.send("data: [DONE]\n\n" if done else ": the end\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Say nothing until the other side is gone; then tell the server's `left`."""
        self.close_connection = True
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if select.select([self.connection], [], [], 0.01)[0]:
                self.server.left.set()
                return


Answer = Callable[[Handler], None]


class OpenAIServer(ThreadingHTTPServer):
    """Answers each request with the next of `script`, then with `otherwise`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *script: Answer, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script: deque[Answer] = deque(script)
        self.otherwise: Answer = says("one ", "two ", "three")
        self.on_models: Answer = lists(CARD)
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.probes = 0
        self.left = threading.Event()
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=[0.01], daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def body(self) -> dict[str, Any]:
        """What was asked last."""
        return self.asked[-1][0]

    def kill(self) -> None:
        """Stop listening, and cut every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):  # it has ended
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that leaves is what is tested


def lists(*cards: dict[str, Any]) -> Answer:
    return lambda handler: handler.reply(200, {"object": "list", "data": list(cards)})


def says(*words: str, reason: str | None = "stop", usage: Any = COUNTED) -> Answer:
    """A well-behaved stream."""

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.say(role="assistant", content="")
        for word in words:
            handler.say(content=word)
        handler.end(reason, usage)

    return answer


def whole(text: str, reason: str = "stop", usage: Any = COUNTED) -> Answer:
    """A server that does not stream."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return lambda handler: handler.reply(200, {"choices": [choice], "usage": usage})


def refuses(status: int, body: Any = "", kind: str = "application/json", **more: str) -> Answer:
    return lambda handler: handler.reply(status, body, kind, **more)


def drops(handler: Handler) -> None:
    handler.drop()


def hangs(handler: Handler) -> None:
    handler.hang()


def says_then(last: Answer, *words: str) -> Answer:
    """Begins to answer; what comes then is another answer's."""

    def answer(handler: Handler) -> None:
        handler.begin()
        for word in words or ("one ", "two "):
            handler.say(content=word)
        last(handler)

    return answer
