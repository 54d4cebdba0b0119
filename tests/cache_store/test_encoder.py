"""An encoder finds and orders what is suggested; the guards still drop, and nothing is served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cache_store import encoder
from cache_store.cache import ResponseCache, open_cache
from cache_store.encoder import DIMENSIONS, Encoder, Vector
from cache_store.signatures import Known, Scope, signature
from cache_store.similar import SimilarQuestions
from cache_store.types import Miss
from tests.cache_store.samples import answer
from tests.cache_store.test_similar import about, keep, suggested


def like(*groups: tuple[str, ...]) -> Encoder:
    """Questions of one group mean the same; any other is like none."""

    def encode(question: str) -> Vector:
        vector = np.zeros(DIMENSIONS, np.float32)
        for number, group in enumerate(groups):
            if question in group:
                vector[number] = 1 - 0.1 * group.index(question)
        return vector

    return encode


@contextmanager
def encoding(encoder: Callable[[], Encoder | None]) -> Iterator[ResponseCache]:
    cache = open_cache(None)
    cache._similar.close()
    cache._similar = SimilarQuestions(cache._store, encoder)
    yield cache
    cache.close()


FAR = ("天气怎么样？", "图中的天气如何？")


def test_an_encoder_finds_what_is_written_otherwise() -> None:
    kept, asking = FAR
    assert (signature(kept) ^ signature(asking)).bit_count() > 24
    with encoding(lambda: None) as cache:
        keep(cache, about(kept))
        assert suggested(cache, about(asking)) == []
    with encoding(lambda: like(FAR)) as cache:
        keep(cache, about(kept))
        assert suggested(cache, about(asking)) == [kept]


def test_an_encoder_says_which_is_the_nearest() -> None:
    asking = "What colour is that car?"
    near, far = "what colour is this car", "What colour is a car?"
    for order in ((near, far), (far, near)):
        with encoding(partial(like, (asking, *order))) as cache:
            keep(cache, about(near), about(far))
            assert suggested(cache, about(asking)) == list(order)


@pytest.mark.parametrize(
    "question",
    ["What is right of the red car?", "What is left of the blue car?", "What is not left of it?"],
)
def test_the_guards_drop_what_an_encoder_calls_the_same(question: str) -> None:
    kept = "What is left of the red car?"
    with encoding(lambda: like((question, kept))) as cache:
        keep(cache, about(kept))
        assert suggested(cache, about(question)) == []
        assert cache.stats().hits == 0


def test_an_encoder_serves_nothing() -> None:
    with encoding(lambda: like(FAR)) as cache:
        keep(cache, about(FAR[0]))
        assert isinstance(cache.lookup(about(FAR[1])), Miss)
        assert cache.stats().hits == 0


def test_no_lookup_waits_for_an_encoder_to_load() -> None:
    may_load = threading.Event()

    def slow() -> Encoder:
        assert may_load.wait(30)
        return like(FAR)

    with encoding(slow) as cache:
        cache.store(about(FAR[0]), answer())
        assert suggested(cache, about(FAR[1])) == []
        may_load.set()
        cache._similar.settle()
        assert suggested(cache, about(FAR[1])) == [FAR[0]]


def test_an_encoder_that_cannot_be_loaded_leaves_the_order_of_simhash() -> None:
    def broken() -> Encoder:
        raise OSError("the file is not readable")

    with encoding(broken) as cache:
        keep(cache, about("What is this?"))  # whose thread meets the error
        keep(cache, about("What colour is the car?"))
        assert suggested(cache, about("What is the colour of the car?")) == [
            "What colour is the car?"
        ]


def test_vectors_keep_their_places_while_a_scope_grows() -> None:
    scope = Scope()
    for number in range(40):
        vector = np.eye(DIMENSIONS, dtype=np.float32)[number]
        scope.add(Known(str(number), f"{number}", 0.0, 0.0), 0, vector)
    for number in (0, 7, 8, 39):
        vector = np.eye(DIMENSIONS, dtype=np.float32)[number]
        assert scope.nearest(2**64 - 1, vector) == [Known(str(number), f"{number}", 0.0, 0.0)]


def test_the_installed_encoder_knows_a_paraphrase_from_another_question() -> None:
    encode = encoder.load()
    if encode is None:
        pytest.skip("the extra `similar` is not installed")
    one, other, third = map(
        encode, ("How is the weather?", "What is the weather like?", "Who owns the car?")
    )
    assert one.shape == (DIMENSIONS,)
    assert float(one @ other) > 0.7 > float(one @ third)
    assert not encode("").any()


def test_another_version_of_the_package_is_no_encoder(tmp_path: Path) -> None:
    assert encoder._read(tmp_path) is None
