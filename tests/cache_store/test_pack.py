"""An archive brings every answer over, and nothing that does not verify."""

from __future__ import annotations

import gzip
import io
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from cache_store import codec
from cache_store.cache import ResponseCache, open_cache
from cache_store.errors import BadPack
from cache_store.pack import Tally, export_pack, import_pack, read_pack, verify_cache, verify_pack
from cache_store.stores.base import Stored
from cache_store.tags import image_tag, model_tag
from cache_store.types import (
    Adopted,
    CacheEntry,
    CacheQuery,
    FinishReason,
    Hit,
    ImagePart,
    Miss,
    TextPart,
    Turn,
)
from tests.cache_store.samples import (
    ANSWER,
    CAT,
    DOG,
    QUERY,
    answer,
    asked,
    name_of,
    query,
)

QUERIES = [
    QUERY,
    asked(ImagePart(DOG), "这是什么？"),
    query(
        turns=(
            Turn("user", (ImagePart(CAT), TextPart("first"))),
            Turn("assistant", (TextPart("yes"),)),
            Turn("user", (TextPart("and \ud83d\ude00"), ImagePart(DOG), TextPart("then"))),
        ),
        model="other",
        namespace="u1",
    ),
]


@pytest.fixture
def caches() -> Iterator[tuple[ResponseCache, ResponseCache]]:
    one, two = open_cache(None), open_cache(None)
    for number, asking in enumerate(QUERIES):
        one.store(asking, answer(text=f"answer {number} " * 300 * number or "short"))
    yield one, two
    one.close()
    two.close()


class Refused(list[str]):
    def __call__(self, which: str, why: str) -> None:
        self.append(f"{which}: {why}")


def packed(cache: ResponseCache, tag: str | None = None) -> bytes:
    file = io.BytesIO()
    tally = export_pack(cache, file, iter(sorted(cache.names(tag))), Refused())
    assert tally.refused == 0
    return file.getvalue()


def taken(cache: ResponseCache, data: bytes, refused: Refused | None = None) -> Tally:
    return import_pack(cache, io.BytesIO(data), refused if refused is not None else Refused())


def lines_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]


def archive(lines: list[Any], *, end: bool = True) -> bytes:
    """An archive by hand; its end fits its lines."""
    if end:
        digests = sha256("".join(line["sha256"] for line in lines[1:]).encode()).hexdigest()
        lines = [*lines, {"entries": len(lines) - 1, "sha256": digests}]
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())


def line_for(value: bytes) -> dict[str, str]:
    return {"sha256": sha256(value).hexdigest(), "entry": b64encode(value).decode()}


def with_entry(data: bytes, entry: CacheEntry) -> bytes:
    return archive([lines_of(data)[0], line_for(codec.dump(entry))])


def entry_of(cache: ResponseCache, asking: CacheQuery = QUERY) -> CacheEntry:
    found = cache.lookup(asking)
    assert isinstance(found, Hit)
    return found.entry


# --- there and back ----------------------------------------------------------------------------


def test_every_answer_comes_over_with_its_age_and_its_end(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    tally = taken(two, packed(one))
    assert (tally.good, tally.refused, tally.adopted) == (3, 0, {Adopted.KEPT: 3})
    for asking in QUERIES:
        assert entry_of(two, asking) == entry_of(one, asking)


def test_tags_are_made_anew_so_a_picture_can_be_forgotten(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    taken(two, packed(one))
    assert two.forget(image_tag(DOG)) == 2
    assert [type(two.lookup(asking)) for asking in QUERIES] == [Hit, Miss, Miss]


def test_the_same_answers_give_the_same_bytes(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    data = packed(one)
    assert packed(one) == data
    taken(two, data)
    assert packed(two) == data


def test_a_tag_chooses_what_is_exported(caches: tuple[ResponseCache, ResponseCache]) -> None:
    one, two = caches
    taken(two, packed(one, model_tag("other")))
    assert [type(two.lookup(asking)) for asking in QUERIES] == [Miss, Miss, Hit]


def test_an_empty_cache_makes_an_empty_archive() -> None:
    cache = open_cache(None)
    assert taken(cache, packed(cache)) == Tally()
    cache.close()


def test_a_newer_answer_stays_and_an_older_one_is_replaced(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    data = packed(one)
    two.store(QUERY, answer(text="newer"))
    assert taken(two, data).adopted == {Adopted.PRESENT: 1, Adopted.KEPT: 2}
    assert entry_of(two).answer.text == "newer"
    assert taken(one, packed(two)).adopted == {Adopted.KEPT: 1, Adopted.PRESENT: 2}
    assert entry_of(one).answer.text == "newer"


def test_what_ended_on_the_way_is_not_kept_and_not_refused(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    old = replace(entry_of(one), created_at=1000.0, expires_at=2000.0)
    tally = taken(two, with_entry(packed(one), old))
    assert (tally.adopted, tally.refused) == ({Adopted.EXPIRED: 1}, 0)
    assert list(two.names()) == []


def test_a_cut_answer_comes_over_under_its_length(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    cut = answer(finish_reason=FinishReason.LENGTH, completion_tokens=3)
    one.store(query(max_tokens=3), cut)
    taken(two, packed(one))
    assert entry_of(two, query(max_tokens=3)).answer == cut
    assert entry_of(two).answer != cut


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"answer": answer(finish_reason=FinishReason.CANCELLED)}, "not a finished answer"),
        ({"answer": answer(finish_reason=FinishReason.LENGTH)}, "not a finished answer"),
        ({"answer": answer(text=5)}, "another type"),
        ({"expires_at": float("inf")}, "another type"),
        ({"created_at": True}, "another type"),
        ({"material": b"s3:abc"}, "key version"),
        ({"material": b""}, "key version"),
        ({"model": None}, "another type"),
    ],
)
def test_an_entry_that_lies_is_refused_and_named(
    caches: tuple[ResponseCache, ResponseCache], changes: dict[str, Any], why: str
) -> None:
    one, two = caches
    refused = Refused()
    tally = taken(two, with_entry(packed(one), replace(entry_of(one), **changes)), refused)
    assert (tally.good, tally.refused) == (0, 1)
    (told,) = refused
    assert told.startswith("line 2: ")
    assert why in told
    assert list(two.names()) == []


def test_material_that_does_not_read_back_is_refused(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    entry = entry_of(one)
    tally = taken(two, with_entry(packed(one), replace(entry, material=entry.material + b"n0:")))
    assert tally.refused == 1


@pytest.mark.parametrize(
    "line",
    [
        {"sha256": "0" * 64, "entry": line_for(b"x")["entry"]},  # the digest of something else
        line_for(b"no entry"),
        line_for(b""),
        {"sha256": "0" * 64, "entry": "***"},
        {"sha256": "0" * 64, "entry": 5},
        {"sha256": "0" * 64},
        {"sha256": "0" * 64, "entry": "", "name": "../../etc/passwd"},
    ],
)
def test_a_bad_line_is_refused_and_the_others_are_taken(
    caches: tuple[ResponseCache, ResponseCache], line: dict[str, Any]
) -> None:
    one, two = caches
    head, first, *rest, _ = lines_of(packed(one))
    refused = Refused()
    tally = taken(two, archive([head, first, line, *rest]), refused)
    assert (tally.good, tally.refused) == (3, 1)
    assert refused[0].startswith("line 3: ")


@pytest.mark.parametrize("cut", [1, 12, 100, 300, -1, -9])
def test_an_archive_that_was_cut_is_told(
    caches: tuple[ResponseCache, ResponseCache], cut: int
) -> None:
    one, _ = caches
    with pytest.raises(BadPack):
        verify_pack(io.BytesIO(packed(one)[:cut]), Refused())


def test_a_missing_end_is_told_and_what_came_before_is_kept(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    lines = lines_of(packed(one))[:-1]
    with pytest.raises(BadPack, match="cut short after 3 entries"):
        taken(two, archive(lines, end=False))
    assert len(list(two.names())) == 3


def test_entries_that_were_taken_out_are_missed(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    head, first, _, *rest = lines_of(packed(caches[0]))
    with pytest.raises(BadPack, match="missing or were changed"):
        taken(caches[1], archive([head, first, *rest], end=False))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no archive"),
        (b"PK\x03\x04 something else", "no archive"),
        (gzip.compress(b"", mtime=0), "no archive"),
        (gzip.compress(b"[]\n", mtime=0), "no archive"),
        (archive([{"format": "another"}]), "no archive"),
        (archive([{"format": "cache_store pack", "version": 2}]), "version 2"),
    ],
)
def test_another_file_is_refused_as_a_whole(data: bytes, why: str) -> None:
    with pytest.raises(BadPack, match=why):
        list(read_pack(io.BytesIO(data)))


def test_something_after_the_end_is_refused(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    lines = lines_of(packed(caches[0]))
    with pytest.raises(BadPack, match="follows the end"):
        list(read_pack(io.BytesIO(archive([*lines, lines[1]], end=False))))


def test_any_flipped_byte_is_noticed(caches: tuple[ResponseCache, ResponseCache]) -> None:
    data = packed(caches[0])
    for place in range(10, len(data), 97):  # before: the gzip header's time, which is free
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        refused = Refused()
        try:
            verify_pack(io.BytesIO(bytes(damaged)), refused)
        except BadPack:
            continue
        assert refused


# --- export and verify of a damaged cache ------------------------------------------------------


def test_damage_in_the_cache_is_left_out_and_told(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    name = name_of(QUERY)
    stored = one.read(name)
    assert stored is not None
    one._store.put(name, stored._replace(value=stored.value[:-1] + b"?"))
    refused, file = Refused(), io.BytesIO()
    tally = export_pack(one, file, iter(sorted(one.names())), refused)
    assert (tally.good, tally.refused) == (2, 1)
    assert refused == [f"{name}: checksum differs"]
    assert taken(two, file.getvalue()).good == 2


def test_verify_finds_what_no_lookup_would_tell(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, _ = caches
    assert verify_cache(one, one.names(), Refused()) == Tally(good=3)
    stored = one.read(name_of(QUERY))
    assert stored is not None
    one._store.put("untagged", stored._replace(tags=()))
    one._store.put("nothing", Stored(b"nothing", stored.expires_at))
    refused = Refused()
    assert verify_cache(one, iter(sorted(one.names())), refused).refused == 2
    assert refused == [
        "nothing: not an entry",
        "untagged: its tags are not those of its key",
    ]


def test_an_answer_may_hold_anything_that_text_may_hold(
    caches: tuple[ResponseCache, ResponseCache],
) -> None:
    one, two = caches
    odd = replace(ANSWER, text="\x00\r\n\u2028\ud800 «»", thought="\n")
    one.store(QUERY, odd)
    taken(two, packed(one))
    assert entry_of(two).answer == odd
