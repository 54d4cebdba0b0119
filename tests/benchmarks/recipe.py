"""The recipe that this project began with, as it was described, to measure against.

A picture is opened, turned upright, converted to RGB, encoded as PNG and hashed; the question is
lowered, split and reduced to a SimHash; both and the model's name make a key. It is slow, and its
key takes different questions for the same (see README): nothing of it is used.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from PIL import Image, ImageOps
from simhash import Simhash


def key(model: str, data: bytes, question: str) -> str:
    """The name under which the recipe keeps an answer."""
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    picture = hashlib.sha256(encoded.getvalue()).hexdigest()
    words = Simhash(question.strip().lower().split()).value
    return f"{model}:{picture}:{words:016x}"


@contextmanager
def redis_server() -> Iterator[redis.Redis | None]:
    """A server of its own on a free port of this machine; None where none is installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        _wait_for(client)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(10)


def _wait_for(client: redis.Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
