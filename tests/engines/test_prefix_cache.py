"""Which beginnings are known, and which of them go first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from qwen_ui.engines.prefix_cache import PrefixCache
from qwen_ui.engines.prompt import PictureKey, Step

CAT, DOG = (PictureKey(name, (1, 8, 6)) for name in ("cat", "dog"))
A, B, C = ((1, CAT, 2), (3, 4), (5,))


@dataclass(frozen=True)
class Thing:
    """What a node keeps, without tensors."""

    name: str
    nbytes: int = 10
    on_host: bool = True

    def to_host(self) -> Thing:
        return Thing(self.name, self.nbytes)


def cache(budget: int = 1000, on_device: int = 0) -> PrefixCache[Thing]:
    return PrefixCache(budget, on_device)


def names(cache: PrefixCache[Thing], *steps: Step, scope: str = "") -> str:
    return "".join(thing.name for thing in cache.longest(scope, steps))


def filled(*, scope: str = "") -> PrefixCache[Thing]:
    known = cache()
    for name, steps in (("a", (A,)), ("b", (A, B)), ("c", (A, B, C))):
        known.add(scope, steps, Thing(name), 1.0)
    return known


def test_the_longest_known_beginning_is_found() -> None:
    known = filled()
    assert names(known, A, B, C) == "abc"
    assert names(known, A, B, (6,)) == "ab"
    assert names(known, A) == "a"
    assert names(known, B) == ""


def test_another_picture_of_the_same_size_is_another_beginning() -> None:
    assert names(filled(), (1, DOG, 2), B) == ""


def test_another_grid_of_the_same_picture_is_another_beginning() -> None:
    assert names(filled(), (1, PictureKey("cat", (1, 6, 8)), 2)) == ""


def test_one_scope_never_profits_from_another() -> None:
    known = filled(scope="me")
    assert names(known, A, B, scope="you") == ""
    assert names(known, A, B, scope="me") == "ab"


def test_steps_that_only_hash_alike_are_not_taken_for_one_another() -> None:
    known = cache()
    known.add("", ((-1,),), Thing("a"), 1.0)
    assert hash((-1,)) == hash((-2,))
    assert names(known, (-2,)) == ""


def test_what_builds_on_something_that_has_gone_is_not_kept() -> None:
    known = cache()
    known.add("", (A, B), Thing("b"), 1.0)
    assert (names(known, A, B), known.host_bytes) == ("", 0)


def test_what_saves_least_per_byte_goes_first() -> None:
    known = cache(25)
    for name, cost_s in (("a", 1.0), ("b", 9.0), ("c", 2.0)):
        known.add("", ((name,),), Thing(name), cost_s)  # type: ignore[arg-type]
    left = [names(known, (name,)) for name in "abc"]  # type: ignore[arg-type]
    assert left == ["", "b", "c"]


def test_what_nobody_asks_for_goes_before_what_is_asked_for() -> None:
    known = cache(35)
    known.add("", (A,), Thing("old and costly"), 3.0)
    for number in range(100):
        known.add("", ((number,),), Thing(str(number)), 1.0)
        assert names(known, (0,)) == "0"
    assert names(known, A) == ""


def test_a_beginning_goes_after_what_builds_on_it() -> None:
    known = cache(30)
    known.add("", (A,), Thing("a"), 0.1)
    known.add("", (A, B), Thing("b"), 9.0)
    known.add("", (C,), Thing("c"), 5.0)
    known.add("", ((7,),), Thing("d"), 8.0)
    assert [names(known, *steps) for steps in ((A, B), (C,), ((7,),))] == ["ab", "", "d"]


def test_too_big_a_thing_is_not_kept_and_costs_nobody_a_place() -> None:
    known = filled()
    known.add("", (B,), Thing("huge", 1001), 1.0)
    assert names(known, A, B, C) == "abc"


def test_the_device_is_left_for_host_memory_before_anything_goes() -> None:
    known = cache(20, on_device=20)
    for name in "abcd":
        known.add("", ((name,),), Thing(name, on_host=False), 1.0)  # type: ignore[arg-type]
    assert (known.device_bytes, known.host_bytes) == (20, 20)
    kept = [known.longest("", ((name,),))[0] for name in "abcd"]  # type: ignore[arg-type]
    assert [thing.on_host for thing in kept] == [True, True, False, False]
    known.add("", (A,), Thing("e", on_host=False), 1.0)
    assert (known.device_bytes, known.host_bytes) == (20, 20)


paths = st.lists(st.integers(0, 2).map(lambda n: (n,)), min_size=1, max_size=4)


@given(st.lists(st.tuples(paths, st.integers(1, 40), st.floats(0, 9), st.booleans())))
def test_budgets_hold_and_paths_stay_whole_whatever_comes(
    added: list[tuple[list[Step], int, float, bool]],
) -> None:
    known = cache(100, on_device=50)
    for steps, size, cost_s, on_host in added:
        for end in range(1, len(steps) + 1):
            if len(known.longest("", steps)) < end:
                known.add("", steps[:end], Thing("x", size, on_host), cost_s)
        assert known.device_bytes <= 50
        assert known.host_bytes <= 100
        assert _bytes_below(known._root) == known.host_bytes + known.device_bytes


def _bytes_below(node: Any) -> int:
    children = node.children.values()
    return sum(child.kept.nbytes + _bytes_below(child) for child in children)
