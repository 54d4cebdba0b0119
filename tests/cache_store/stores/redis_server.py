"""A redis-server of its own on a free port of this machine, and a server that talks nonsense."""

from __future__ import annotations

import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import redis

GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00\xff\xfe garbage \r\n" * 100,
    b"$abc\r\n",
    b"$5\r\nhello\r\n",  # sound, but not what was asked for
    b"*-5\r\n",
    b"*3\r\n:1\r\n$-1\r\n+OK\r\n",
    b":999999999999999999999\r\n",
    b":abc\r\n",
    b"$99999999999\r\nx",
    b"+OK\r\n" * 50,
    b"-ERR no\r\n",
    b"-\r\n",
    b"\r\n\r\n",
    b"%1\r\n+a\r\n+b\r\n",
]


class RedisServer:
    """Starts at once. Tests that ask for one are skipped where redis-server is not installed."""

    def __init__(self, *options: str) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("redis-server is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", *options]
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            deadline = time.monotonic() + 10
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "redis-server does not start"
                    time.sleep(0.02)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def pause(self) -> None:
        """From now on it takes connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


@contextmanager
def nonsense_server(garbage: bytes) -> Iterator[int]:
    """Says the same whatever it is asked."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self.request.recv(65536):
                    self.request.sendall(garbage)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:  # a test that fails in here must not leave a thread that keeps Python from ending
            server.shutdown()
            thread.join()
