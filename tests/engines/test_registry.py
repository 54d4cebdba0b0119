"""Loading, switching and failing of models, while others use them."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from qwen_ui.engines.base import Completion, Engine, EngineSpec, GenerationRequest, Sampling
from qwen_ui.engines.memory import Memory
from qwen_ui.engines.registry import EngineRegistry, Progress
from qwen_ui.engines.scripted import ScriptedEngine
from qwen_ui.errors import EngineBusy, ModelFailed, UnknownModel
from qwen_ui.types import Message, ModelState
from tests.service import ScriptedSource

GB = 10**9
Made = tuple[EngineRegistry, dict[str, ScriptedSource]]


@pytest.fixture
def made() -> Iterator[Made]:
    sources = {name: ScriptedSource(name) for name in ("one", "two", "three")}
    registry = EngineRegistry(list(sources.values()), keep_loaded=2)
    yield registry, sources
    for source in sources.values():
        source.gate.set()
    registry.close()


def load(registry: EngineRegistry, name: str) -> Engine:
    return registry.engine(name).result(10)


def state(registry: EngineRegistry, name: str) -> ModelState:
    return next(info.state for info in registry.models() if info.name == name)


def test_the_first_source_is_the_default_and_the_order_is_kept(made: Made) -> None:
    registry, _ = made
    assert registry.default == "one"
    assert [info.name for info in registry.models()] == ["one", "two", "three"]


def test_a_model_is_loaded_once_and_then_at_hand(made: Made) -> None:
    registry, sources = made
    assert load(registry, "one") is load(registry, "one")
    assert sources["one"].loads == 1
    assert registry.engine("one").done()


def test_many_who_ask_during_a_load_get_the_same_engine(made: Made) -> None:
    registry, sources = made
    sources["one"].gate.clear()
    futures = [registry.engine("one") for _ in range(10)]
    assert not futures[0].done()
    sources["one"].gate.set()
    assert len({id(future.result(10)) for future in futures}) == 1
    assert sources["one"].loads == 1


def test_the_identity_is_known_without_loading(made: Made) -> None:
    registry, sources = made
    assert registry.spec("two").model == "two"
    assert sources["two"].loads == 0


def test_the_identity_is_found_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, sources = made
    calls: list[int] = []

    def resolve() -> EngineSpec:
        calls.append(1)
        time.sleep(0.05)
        return sources["one"].spec

    monkeypatch.setattr(sources["one"], "resolve", resolve)
    threads = [threading.Thread(target=registry.spec, args=["one"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_the_loader_gets_the_identity_that_the_keys_are_made_of(made: Made) -> None:
    registry, _ = made
    assert load(registry, "one").spec is registry.spec("one")


def test_an_unknown_name_is_refused(made: Made) -> None:
    registry, _ = made
    for ask in (registry.engine, registry.spec):
        with pytest.raises(UnknownModel):
            ask("four")


def test_the_least_recently_used_model_makes_room(made: Made) -> None:
    registry, sources = made
    load(registry, "one")
    load(registry, "two")
    load(registry, "one")
    load(registry, "three")
    states = {name: state(registry, name) for name in sources}
    assert states == {
        "one": ModelState.READY,
        "two": ModelState.UNLOADED,
        "three": ModelState.READY,
    }


def test_never_more_than_keep_loaded_models_are_in_memory() -> None:
    alive: set[str] = set()
    most = [0]

    class Source(ScriptedSource):
        def load(self, spec: EngineSpec, progress: Progress) -> Engine:
            alive.add(spec.model)
            most[0] = max(most[0], len(alive))
            return Leaving(spec)

    class Leaving(ScriptedEngine):
        def close(self) -> None:
            super().close()
            alive.discard(self.spec.model)

    registry = EngineRegistry([Source(str(n)) for n in range(5)], keep_loaded=2)
    for turn in range(20):
        load(registry, str(turn * 3 % 5))
    assert most[0] == 2
    registry.close()
    assert alive == set()


def test_loads_come_one_after_another(made: Made) -> None:
    registry, sources = made
    sources["one"].gate.clear()
    first, second = registry.engine("one"), registry.engine("two")
    time.sleep(0.05)
    assert (sources["one"].loads, sources["two"].loads) == (1, 0)
    sources["one"].gate.set()
    assert first.result(10).spec.model == "one"
    assert second.result(10).spec.model == "two"


def test_progress_and_state_are_told(made: Made) -> None:
    registry, sources = made
    sources["one"].gate.clear()
    assert state(registry, "one") is ModelState.UNLOADED
    loading = registry.engine("one")
    while sources["one"].loads == 0:
        time.sleep(0.005)
    info = registry.models()[0]
    assert (info.state, info.progress) == (ModelState.LOADING, 0.5)
    sources["one"].gate.set()
    loading.result(10)
    info = registry.models()[0]
    assert (info.state, info.progress) == (ModelState.READY, 1.0)
    assert info.description == "none · none · none"


@pytest.mark.parametrize(
    ("raised", "told"),
    [(ModelFailed("one", "no weights"), "no weights"), (OSError("disk on fire"), "disk on fire")],
)
def test_a_failed_load_is_told_and_the_next_try_may_succeed(
    made: Made, raised: Exception, told: str
) -> None:
    registry, sources = made
    sources["one"].error = raised
    for _ in range(2):
        with pytest.raises(ModelFailed, match=told):
            load(registry, "one")
    info = registry.models()[0]
    assert info.state is ModelState.FAILED
    assert info.description.endswith(told)
    assert "cannot be loaded" not in info.description  # the page says so itself
    assert load(registry, "two").spec.model == "two"
    sources["one"].error = None
    assert load(registry, "one").spec.model == "one"
    assert state(registry, "one") is ModelState.READY
    assert sources["one"].loads == 3


def test_an_identity_that_cannot_be_found_is_looked_for_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, sources = made

    def fail() -> EngineSpec:
        raise ModelFailed("one", "no network")

    monkeypatch.setattr(sources["one"], "resolve", fail)
    with pytest.raises(ModelFailed, match="no network"):
        registry.spec("one")
    monkeypatch.undo()
    assert registry.spec("one").model == "one"


def test_a_slow_identity_holds_few_callers_and_none_of_other_models(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, sources = made
    registry.spec("two")
    slow, spec = threading.Event(), sources["one"].spec

    def wait() -> EngineSpec:
        assert slow.wait(20)
        return spec

    monkeypatch.setattr(sources["one"], "resolve", wait)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(registry.spec, "one") for _ in range(7)]
        refused, _ = concurrent.futures.wait(asked, 20, concurrent.futures.FIRST_COMPLETED)
        assert pool.submit(registry.spec, "two").result(20).model == "two"
        slow.set()
    assert all(isinstance(one.exception(), EngineBusy) for one in refused)
    served = [one for one in asked if one.exception() is None]
    assert len(served) == 4
    assert registry.spec("one") == spec


def test_closing_closes_every_engine_and_refuses_new_loads_in_words(made: Made) -> None:
    registry, sources = made
    load(registry, "one")
    load(registry, "two")
    registry.close()
    for name in ("one", "two"):
        assert not sources[name].engine._worker._thread.is_alive()
    for name in ("one", "three"):
        with pytest.raises(ModelFailed, match="shutting down"):
            load(registry, name)


# --- memory ------------------------------------------------------------------------------------


def sized(name: str, weights: int) -> ScriptedSource:
    source = ScriptedSource(name)
    source.spec = replace(source.spec, weight_bytes=weights)
    return source


def test_a_model_that_cannot_fit_is_refused_and_the_old_one_stays() -> None:
    sources = [sized("small", 1 * GB), sized("huge", 99 * GB)]
    registry = EngineRegistry(sources, look=lambda device: Memory(3 * GB, 4 * GB))
    engine = load(registry, "small")
    with pytest.raises(ModelFailed, match=r"its weights take 99\.0 GB"):
        load(registry, "huge")
    assert sources[1].loads == 0
    assert state(registry, "huge") is ModelState.FAILED
    assert load(registry, "small") is engine
    registry.close()


def test_two_models_stay_side_by_side_only_where_memory_allows() -> None:
    total = 10 * GB

    def look(device: str) -> Memory:
        taken = sum(s.spec.weight_bytes for s in sources if registry.loaded(s.name))
        return Memory(total - taken, total)

    sources = [sized("one", 4 * GB), sized("two", 4 * GB), sized("three", 6 * GB)]
    registry = EngineRegistry(sources, keep_loaded=3, look=look)
    for name in ("one", "two"):
        load(registry, name)
    assert all(registry.loaded(name) for name in ("one", "two"))
    load(registry, "three")
    assert [bool(registry.loaded(s.name)) for s in sources] == [False, False, True]
    registry.close()


def test_a_model_is_unloaded_by_hand_after_its_answers_and_loaded_again_when_asked() -> None:
    gate, ended = threading.Event(), threading.Event()

    def script(request: GenerationRequest) -> list[str]:
        assert gate.wait(10)
        return ["a"]

    registry = EngineRegistry([ScriptedSource("one", script=script)])
    engine = load(registry, "one")
    question = GenerationRequest((Message("user", ("hi",)),), Sampling(), 1)
    engine.submit(question, lambda event: ended.set() if isinstance(event, Completion) else None)
    with ThreadPoolExecutor(1) as pool:
        unloading = pool.submit(registry.unload, "one")
        with pytest.raises(concurrent.futures.TimeoutError):
            unloading.result(0.1)
        assert state(registry, "one") is ModelState.UNLOADED
        gate.set()
        assert unloading.result(10)
    assert ended.is_set()
    assert not registry.unload("one")
    assert load(registry, "one") is not engine
    with pytest.raises(UnknownModel):
        registry.unload("four")
    registry.close()


def test_a_model_that_is_asked_for_while_it_leaves_is_loaded_when_it_has_left() -> None:
    """Two copies would not fit."""
    gate, alive, counts = threading.Event(), list[Engine](), list[int]()

    class Leaving(ScriptedEngine):
        def close(self) -> None:
            assert gate.wait(10)
            super().close()
            alive.remove(self)

    class Source(ScriptedSource):
        def load(self, spec: EngineSpec, progress: Progress) -> Engine:
            alive.append(Leaving(spec))
            counts.append(len(alive))
            return alive[-1]

    registry = EngineRegistry([Source("one")])
    load(registry, "one")
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(registry.unload, "one")
        while registry.loaded("one") is not None:
            time.sleep(0.002)
        again = registry.engine("one")
        time.sleep(0.05)
        assert not again.done()
        gate.set()
        assert left.result(10)
        again.result(10)
    registry.close()
    assert counts == [1, 1]


def test_whatever_a_source_raises_is_one_sentence() -> None:
    class Broken(ScriptedSource):
        def resolve(self) -> EngineSpec:
            raise AssertionError

    registry = EngineRegistry([Broken("one")])
    with pytest.raises(ModelFailed, match="AssertionError"):
        registry.spec("one")
    registry.close()
