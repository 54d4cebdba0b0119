"""What comes out is what went in, or a refusal."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import zlib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store import codec
from cache_store.errors import CorruptEntry
from cache_store.keys import make_key
from cache_store.types import Answer, CacheEntry, FinishReason
from tests.cache_store.samples import QUERY, answer


def entry(text: str = "A cat.", thought: str = "") -> CacheEntry:
    return CacheEntry(
        make_key(QUERY)[1], "model", 100, answer(text=text, thought=thought), 1000.25, 2000.5
    )


def sealed(body: bytes, flags: int = 0) -> bytes:
    """Bytes with a right checksum around any body."""
    checksum = hashlib.blake2b(bytes([flags]) + body, digest_size=16).digest()
    return b"QCE1" + bytes([flags]) + checksum + body


@given(st.text(), st.text(), st.sampled_from(FinishReason))
def test_every_text_comes_back(text: str, thought: str, reason: FinishReason) -> None:
    kept = entry(text, thought)
    kept = CacheEntry(b"\0\xff" * 9, "m", 1, answer(text=text, finish_reason=reason), 0.1, 1e12)
    assert codec.load(codec.dump(kept)) == kept


@pytest.mark.parametrize(
    "text",
    ["", "\ud83d", "a\udc00b", "\r\n" * 40_000, "\0", "\u2028", '"\\', "𝄞" * 1000, "x" * 5_000_000],
)
def test_odd_and_huge_texts_come_back(text: str) -> None:
    kept = entry(text, thought=text)
    assert codec.load(codec.dump(kept)) == kept


def test_long_answers_are_compressed_and_short_ones_are_not() -> None:
    assert len(codec.dump(entry("a cat " * 10_000))) < 5_000
    assert b"A cat." in codec.dump(entry())


@pytest.mark.parametrize("text", ["A cat.", "a cat on a mat " * 200])
def test_every_flipped_byte_is_refused(text: str) -> None:
    data = codec.dump(entry(text))
    for place in range(len(data)):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= change
            with pytest.raises(CorruptEntry):
                codec.load(bytes(damaged))


@pytest.mark.parametrize("text", ["A cat.", "a cat on a mat " * 200])
def test_truncated_and_lengthened_bytes_are_refused(text: str) -> None:
    data = codec.dump(entry(text))
    for end in range(len(data)):
        with pytest.raises(CorruptEntry):
            codec.load(data[:end])
    with pytest.raises(CorruptEntry):
        codec.load(data + b"\0")


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    for attempt in (data, b"QCE1" + data, sealed(data), sealed(data, 1), sealed(data, 7)):
        with pytest.raises(CorruptEntry):
            codec.load(attempt)


@pytest.mark.parametrize("shape", ["5", "[]", "null", "{}", '{"answer": 5}', '{"answer": {}}', "{"])
def test_a_right_checksum_over_something_else_is_refused(shape: str) -> None:
    with pytest.raises(CorruptEntry):
        codec.load(sealed((0).to_bytes(4, "big") + shape.encode()))


def test_unknown_fields_and_unknown_finish_reasons_are_refused() -> None:
    data = codec.dump(entry())
    body = data[codec._HEAD :]
    end = 4 + int.from_bytes(body[:4], "big")
    rest = json.loads(body[end:])
    for change in ({"new": 1}, {"answer": rest["answer"] | {"finish_reason": "bored"}}):
        changed = body[:end] + json.dumps(rest | change).encode()
        with pytest.raises(CorruptEntry):
            codec.load(sealed(changed))
    assert codec.load(sealed(body)) == entry()


_NUMBERS = [-1, -1.5, 10**400, 2**60, 1e300, math.inf, -math.inf, math.nan]
ODD: list[object] = [None, True, "1", [], {}, *_NUMBERS]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "name", [*(f.name for f in fields(Answer)), "model", "max_tokens", "created_at", "expires_at"]
)
def test_a_field_that_no_answer_has_is_refused(name: str, odd: object) -> None:
    data = codec.dump(entry())
    body = data[codec._HEAD :]
    end = 4 + int.from_bytes(body[:4], "big")
    rest = json.loads(body[end:])
    (rest["answer"] if name in rest["answer"] else rest)[name] = odd
    if odd == "1" and name in ("text", "thought", "model"):
        return
    with pytest.raises(CorruptEntry):
        codec.load(sealed(body[:end] + json.dumps(rest).encode()))


def test_a_nesting_without_end_is_refused() -> None:
    with pytest.raises(CorruptEntry):
        codec.load(sealed((0).to_bytes(4, "big") + b"[" * 200_000))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zlib.compressobj(9)
    packed = b"".join(bomb.compress(bytes(2**20)) for _ in range(80)) + bomb.flush()
    assert len(packed) < 100_000
    with pytest.raises(CorruptEntry, match="larger"):
        codec.load(sealed(packed, 1))


def test_a_pickle_is_not_loaded() -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, ("/tmp/never-made-by-a-test",)

    data = pickle.dumps(Boom())
    for attempt in (data, sealed(data), b"QCE1" + data):
        with pytest.raises(CorruptEntry):
            codec.load(attempt)
