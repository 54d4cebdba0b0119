"""Equal keys mean equal requests, and nothing less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache_store.keys import encode, make_key
from cache_store.types import CacheQuery, ImagePart, MarkPart, Part, TextPart, Turn
from tests.cache_store.samples import CAT, DOG, QUERY, asked, query, user

texts = st.text(max_size=12)
digests = st.sampled_from([CAT, DOG, "text", "image"])
parts = st.one_of(
    st.builds(TextPart, texts), st.builds(ImagePart, digests), st.builds(MarkPart, texts)
)
turns = st.builds(
    Turn,
    st.sampled_from(["system", "user", "assistant"]),
    st.lists(parts, min_size=1, max_size=3).map(tuple),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
queries = st.builds(
    CacheQuery,
    model=texts,
    fingerprint=texts,
    turns=st.lists(turns, min_size=1, max_size=3).map(tuple),
    sampling=st.dictionaries(st.sampled_from(["seed", "top_k"]), scalars, max_size=2),
    max_tokens=st.just(7),
    namespace=texts,
)


def key(query: CacheQuery) -> str:
    found, _ = make_key(query)
    return f"{found.scope}:{found.question}"


def typed(value: object) -> object:
    """The value with its types spelled out: 1, 1.0 and True are three things."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value).__name__, repr(value))


def as_data(query: CacheQuery) -> object:
    return (
        query.model,
        query.fingerprint,
        query.namespace,
        query.turns,
        typed(dict(query.sampling)),
    )


@given(values, values)
def test_two_values_have_the_same_encoding_only_if_they_are_the_same(a: object, b: object) -> None:
    assert (encode(a) == encode(b)) == (typed(a) == typed(b))  # type: ignore[arg-type]


@given(queries, queries)
def test_two_queries_share_a_key_and_material_only_if_they_are_equal(
    a: CacheQuery, b: CacheQuery
) -> None:
    equal = as_data(a) == as_data(b)
    assert (key(a) == key(b)) == equal
    assert (make_key(a)[1] == make_key(b)[1]) == equal


@given(queries, texts)
def test_one_changed_field_changes_the_key(base: CacheQuery, text: str) -> None:
    for name in ("model", "fingerprint", "namespace"):
        assume(getattr(base, name) != text)
        assert key(replace(base, **{name: text})) != key(base)  # type: ignore[arg-type]
    longer = replace(base.turns[-1], parts=(*base.turns[-1].parts, TextPart(text)))
    assert key(replace(base, turns=(*base.turns[:-1], longer))) != key(base)
    assert key(replace(base, turns=(user(text), *base.turns))) != key(base)
    assert key(replace(base, sampling={**base.sampling, "new": text})) != key(base)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[CacheQuery, CacheQuery]:
    """Two queries that differ in one field, or in the border between two neighbouring fields."""
    base = draw(queries)
    at = draw(st.integers(0, len(base.turns) - 1))
    turn = base.turns[at]
    here = draw(st.integers(0, len(turn.parts) - 1))
    part = turn.parts[here]
    before, after = turn.parts[:here], turn.parts[here + 1 :]

    def with_turns(*turns: Turn) -> CacheQuery:
        return replace(base, turns=(*base.turns[:at], *turns, *base.turns[at + 1 :]))

    def with_parts(*parts: Part) -> CacheQuery:
        return with_turns(replace(turn, parts=(*before, *parts, *after)))

    text = part.digest if isinstance(part, ImagePart) else part.text
    cut = draw(st.integers(0, len(text)))
    other_kind = ImagePart(text) if isinstance(part, TextPart) else TextPart(text)
    changed = [
        *(replace(base, **{f: draw(texts)}) for f in ("model", "fingerprint", "namespace")),  # type: ignore[arg-type]
        replace(base, model=base.model + base.fingerprint, fingerprint=""),  # moved borders
        replace(base, namespace="", model=base.namespace + base.model),
        replace(base, sampling={**base.sampling, "seed": draw(scalars)}),
        with_turns(replace(turn, role=draw(st.sampled_from(["system", "user", "assistant"])))),
        with_turns(Turn(turn.role, turn.parts[: here + 1]), Turn(turn.role, after)),
        with_parts(type(part)(draw(texts))),
        with_parts(other_kind),
        with_parts(type(part)(text[:cut]), type(part)(text[cut:])),
        with_parts(part, part),
        with_turns(replace(turn, parts=turn.parts[::-1])),
        replace(base, turns=base.turns[::-1]),
    ]
    if len(base.turns) > 1:
        changed.append(replace(base, turns=base.turns[1:]))
    return base, draw(st.sampled_from(changed))


@given(neighbours())
def test_any_single_change_and_any_moved_border_changes_the_key(
    pair: tuple[CacheQuery, CacheQuery],
) -> None:
    base, changed = pair
    assert (key(base) == key(changed)) == (as_data(base) == as_data(changed))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (asked("ab", "c"), asked("a", "bc")),
        (asked("ab", "c"), asked("abc")),
        (asked("a"), asked("a", "")),
        (asked("a", ImagePart(CAT), "b"), asked("a", "b", ImagePart(CAT))),
        (asked(ImagePart(CAT), ImagePart(DOG), "a"), asked(ImagePart(DOG), ImagePart(CAT), "a")),
        (asked(ImagePart(CAT), "a"), asked(ImagePart(CAT), ImagePart(CAT), "a")),
        (asked(ImagePart(CAT), "a"), asked(CAT, "a")),
        (asked(MarkPart("a"), "b"), asked("a", "b")),
        (asked(MarkPart("a"), "b"), asked(MarkPart("c"), "b")),
        (asked(MarkPart(CAT), "a"), asked(ImagePart(CAT), "a")),
        (asked("a"), query(turns=(Turn("system", (TextPart("a"),)),))),
        (asked("a"), query(turns=(Turn("system", (TextPart(""),)), user("a")))),
        (query(turns=(user("a"), user("b"))), query(turns=(user("a", "b"),))),
        (query(turns=(user("a"), user("b"))), query(turns=(user("b"), user("a")))),
        (query(turns=(user("a"), user("b"))), query(turns=(user("b"),))),
        (query(model="ab", fingerprint="c"), query(model="a", fingerprint="bc")),
        (query(namespace="ab", model="c"), query(namespace="a", model="bc")),
        (asked("what is this" + "user" + "bob"), query(turns=(user("what is this"), user("bob")))),
        (asked("é"), asked("e\u0301")),
        (asked("\ud83d"), asked("?")),
    ],
)
def test_borders_order_and_kind_of_the_fields_are_in_the_key(
    one: CacheQuery, other: CacheQuery
) -> None:
    assert key(one) != key(other)


def test_text_that_looks_like_an_encoding_is_only_text() -> None:
    inner = encode(["a", "b"]).decode()
    assert key(asked(inner)) != key(asked("a", "b"))
    assert encode([encode(["a"]).decode()]) != encode([["a"]])
    assert encode(["s1:a"]) != encode(["s1:", "a"])
    assert encode(["a", "bsc"]) != encode(["asb", "c"])  # equal without lengths
    assert encode([["a"], "b"]) != encode([["a", "b"]])  # equal without counts
    assert encode([{"a": 1}, "b", 2]) != encode([{"a": 1, "b": 2}])


def test_numbers_truths_and_texts_that_look_alike_have_different_keys() -> None:
    lookalikes = [1, 1.0, True, "1", "1.0", "True", None, "None", 0, False, 0.0, -0.0, ""]
    keys = {key(query(sampling={"top_k": value})) for value in lookalikes}
    assert len(keys) == len(lookalikes)


def test_the_order_of_sampling_parameters_is_not_in_the_key() -> None:
    backwards = dict(reversed(list(QUERY.sampling.items())))
    assert key(query(sampling=backwards)) == key(QUERY)


def test_what_is_remembered_of_parameters_changes_no_key() -> None:
    queries = [query(sampling={"seed": seed, "top_p": 1.0}) for seed in range(1000)]
    first = [make_key(asking) for asking in queries]
    assert [make_key(asking) for asking in queries] == first
    assert len({made.scope for made, _ in first}) == 1000
    changing = {"seed": 1}
    before = make_key(query(sampling=changing))
    changing["seed"] = 2
    assert make_key(query(sampling=changing)) != before


def test_max_tokens_is_not_in_the_key() -> None:
    assert make_key(query(max_tokens=1)) == make_key(query(max_tokens=2048))


def test_questions_that_differ_share_a_scope_and_nothing_else_does() -> None:
    scope = make_key(QUERY)[0].scope
    other_question, _ = make_key(asked(ImagePart(CAT), "Is it a dog?"))
    assert other_question.scope == scope
    assert other_question.question != make_key(QUERY)[0].question
    others: list[CacheQuery] = [
        asked(ImagePart(DOG), "What is this?"),
        asked("What is this?", ImagePart(CAT)),
        asked(ImagePart(CAT), "What is", "this?"),
        query(model="other"),
        query(fingerprint="other"),
        query(namespace="other"),
        query(sampling={"temperature": 0.5}),
        query(turns=(user("hello"), *QUERY.turns)),
        query(turns=(replace(QUERY.turns[0], role="system"),)),
    ]
    scopes = {make_key(other)[0].scope for other in others}
    assert len(scopes) == len(others)
    assert scope not in scopes


def test_the_last_question_and_the_same_words_earlier_are_not_confused() -> None:
    assert key(query(turns=(user("a"), user("b")))) != key(query(turns=(user("b"), user("b"))))


def test_the_printed_key_is_readable_and_safe_for_any_model_name() -> None:
    printed = str(make_key(query(model="Qwen/Qwen3 VL:\n4B\ud83d"))[0])
    assert printed.startswith("qwen3vl:Qwen-Qwen3-VL-4B-:" + CAT[:12] + ":")
    assert printed.isascii()
    assert printed.isprintable()
    assert str(make_key(asked("hi"))[0]).split(":")[2] == "text"


def test_printed_keys_differ_where_the_keys_do() -> None:
    printed: Callable[[CacheQuery], str] = lambda asking: str(make_key(asking)[0])  # noqa: E731
    assert printed(asked("a")) != printed(asked("b"))
    assert printed(query(fingerprint="a")) != printed(query(fingerprint="b"))


def test_a_value_that_has_no_encoding_is_refused() -> None:
    for value in (object(), {1, 2}, 1j):
        with pytest.raises(TypeError, match="no place in a key"):
            encode(value)  # type: ignore[arg-type]


def test_the_encoding_has_not_changed_without_a_new_version() -> None:
    """Stored answers are found by these bytes: change them and `keys.VERSION` together."""
    golden = query(
        turns=(
            Turn("system", (TextPart("Be brief."),)),
            user("first", ImagePart(DOG)),
            Turn("assistant", (TextPart("ok"),)),
            user("这是什么", ImagePart(CAT), "?"),
        ),
        sampling={"temperature": 0.7, "top_k": 20, "seed": None, "greedy": False},
        namespace="n",
    )
    made, _ = make_key(golden)
    assert made.scope == "a0217cffb0d58436db6a8e85f5fecab4381c3c4a3bcfc9db2ec67ee49d69ef2b"
    assert made.question == "44b3d29134eb65c894915162560677ef9a49b44b55a278d51a2955cf030967f8"
    assert encode({"b": [1, 2.5, None, True], "a": "é"}) == (
        b"m2:s1:as2:\xc3\xa9s1:bl4:i1:1f20:0x1.4000000000000p+1n0:b1:1"
    )
