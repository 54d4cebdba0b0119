"""The recipe that this project began with, as it was described, to measure against.

A picture is opened, turned upright, converted to RGB, encoded as PNG and hashed; the question is
lowered, split and reduced to a SimHash; both and the model's name make a key. It is slow, and its
key takes different questions for the same (see README): nothing of it is used.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from PIL import Image, ImageOps
from simhash import Simhash

from tests.cache_store.stores.redis_server import RedisServer


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
    """A client of a server of its own; None where none is installed."""
    if shutil.which("redis-server") is None:
        yield None
        return
    server = RedisServer()
    try:
        with server.client() as client:
            yield client
    finally:
        server.kill()
