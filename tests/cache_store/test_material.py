"""Key material reads back to exactly what was asked, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import CorruptEntry
from cache_store.keys import VERSION, encode, make_key
from cache_store.material import decode, query_of, version_of
from cache_store.types import CacheEntry, CacheQuery
from tests.cache_store.samples import ANSWER, CAT, QUERY, asked
from tests.cache_store.test_keys import as_data, queries, typed, values


def entry(query: CacheQuery, material: bytes | None = None) -> CacheEntry:
    made = make_key(query)[1] if material is None else material
    return CacheEntry(made, query.model, query.max_tokens, ANSWER, 1.0, 2.0)


@given(queries)
def test_the_query_of_an_entry_is_the_query_that_was_asked(query: CacheQuery) -> None:
    found = query_of(entry(query))
    assert as_data(found) == as_data(query)
    assert found.max_tokens == query.max_tokens


@given(st.lists(values, max_size=3))
def test_what_was_encoded_is_decoded(several: list[object]) -> None:
    data = b"".join(encode(value) for value in several)  # type: ignore[arg-type]
    assert [typed(value) for value in decode(data)] == [typed(value) for value in several]


@given(st.binary(max_size=80))
def test_random_bytes_are_refused(data: bytes) -> None:
    for material in (data, encode([VERSION]) + data, make_key(QUERY)[1] + data):
        if material == make_key(QUERY)[1]:
            continue
        with pytest.raises(CorruptEntry):
            query_of(entry(QUERY, material))


def test_every_cut_and_every_flipped_byte_is_refused_or_another_query() -> None:
    material = make_key(QUERY)[1]
    for place in range(len(material)):
        with pytest.raises(CorruptEntry):
            query_of(entry(QUERY, material[:place]))
        flipped = bytearray(material)
        flipped[place] ^= 1
        try:
            found = query_of(entry(QUERY, bytes(flipped)))
        except CorruptEntry:
            continue
        assert make_key(found)[1] == flipped != material


@pytest.mark.parametrize(
    "scope",
    [
        [VERSION, "", 1, "f", {}, [], ["user", [["text"]]]],
        [VERSION, [], "m", "f", {}, [], ["user", [["text"]]]],
        [VERSION, "", "m", "f", "x", [], ["user", [["text"]]]],
        [VERSION, "", "m", "f", {}, [], [7, [["text"]]]],
        [VERSION, "", "m", "f", {}, [["user", [["image", None]]]], ["user", [["text"]]]],
    ],
)
def test_planted_fields_of_another_type_are_refused(scope: list[object]) -> None:
    material = encode([VERSION]) + encode(scope) + encode(["What?"])  # type: ignore[arg-type]
    with pytest.raises(CorruptEntry):
        query_of(entry(QUERY, material))


def test_material_of_another_key_version_is_refused_and_its_version_is_told() -> None:
    material = make_key(QUERY)[1]
    older = material.replace(VERSION.encode(), b"x" * len(VERSION))
    assert version_of(material) == VERSION
    assert version_of(older) == "x" * len(VERSION)
    with pytest.raises(CorruptEntry, match="version"):
        query_of(entry(QUERY, older))


@pytest.mark.parametrize("data", [b"", b"x", b"l9", b"s5:abc", encode("a"), encode([]), b"q1:1"])
def test_bytes_without_a_version_have_none(data: bytes) -> None:
    assert version_of(data) == ""


def test_deeply_nested_bytes_are_refused_before_they_use_up_the_stack() -> None:
    with pytest.raises(CorruptEntry, match="deep"):
        query_of(entry(QUERY, encode([VERSION]) + b"l1:" * 100_000))


def test_a_text_that_looks_like_a_picture_stays_a_text() -> None:
    query = asked(CAT, "image", "s1:a")
    assert query_of(entry(query)).turns == query.turns
    assert query_of(replace(entry(query), max_tokens=5)).max_tokens == 5


def test_material_of_too_few_texts_or_of_numbers_without_bounds_is_refused() -> None:
    whole = make_key(QUERY)[1]
    asked_of = encode(["What is this?"])
    assert whole.endswith(asked_of)
    infinite = encode([VERSION]) + b"f10:0x1p999999"
    for material in (whole.removesuffix(asked_of) + encode([]), infinite, b"f10:0x1p999999"):
        with pytest.raises(CorruptEntry):
            query_of(entry(QUERY, material))
    assert version_of(b"l1:f10:0x1p999999") == ""
