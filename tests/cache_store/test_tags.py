"""The tags that an entry is kept with."""

from __future__ import annotations

from cache_store.cache import ResponseCache
from cache_store.database import Database
from cache_store.keys import make_key
from cache_store.stores.memory import MemoryStore
from cache_store.stores.tiered import TieredStore
from cache_store.tags import tags_of
from cache_store.types import ImagePart, Turn
from tests.cache_store.samples import CAT, DOG, QUERY, answer, query, user

SCOPE = make_key(QUERY)[0].scope


def test_an_entry_belongs_to_its_pictures_its_model_and_its_scope() -> None:
    assert set(tags_of(QUERY, make_key(QUERY)[0])) == {
        f"image:{CAT}",
        "model:Qwen/Qwen3-VL-4B-Instruct",
        f"scope:{SCOPE}",
    }


def test_pictures_of_every_turn_count_once_each() -> None:
    turns = (
        user(ImagePart(CAT), ImagePart(DOG), "Which is larger?"),
        Turn("assistant", ()),
        user(ImagePart(CAT), "And this?"),
    )
    asking = query(turns=turns)
    pictures = [t for t in tags_of(asking, make_key(asking)[0]) if t.startswith("image:")]
    assert sorted(pictures) == [f"image:{CAT}", f"image:{DOG}"]


def test_a_stored_answer_has_them_and_the_seconds_it_took() -> None:
    store = TieredStore(MemoryStore(2**20), None)
    cache = ResponseCache(store, Database(None))
    cache.store(QUERY, answer(elapsed_s=2.5))
    (name,) = store.names(f"scope:{SCOPE}")
    kept = store.read(name)
    assert kept is not None
    assert kept.cost_s == 2.5
    assert set(kept.tags) == set(tags_of(QUERY, make_key(QUERY)[0]))
    cache.close()
