"""What somebody planted who can write to a store: refused, removable, and never a way out of it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cache_store.errors import CorruptEntry
from cache_store.stores.base import name_tag
from cache_store.stores.disk import DiskStore
from tests.cache_store.stores.contract import lasting

BUDGET = 2**26
OURS = "ab/cd/" + "0" * 28 + ".val"
ODD = [None, "", "text", b"\xff\xfe", -1, 0, 2**63 - 1, -(2**63), 1.5, -1e308, float("inf"), "9e9"]
ODD_TEXTS = ["Infinity", "[NaN]", "[1e999]", f"[{10**400}]", "[" * 100_000, '[1, ["a"]]', "[true]"]


def sql(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "cache.db")) as database, database:
        database.execute(statement, values)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path / "answers", BUDGET)
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path: Path, store: DiskStore) -> Path:
    """With a value in its row and one in a file of its own."""
    store.put("row", lasting(b"x", 100, "tag", cost_s=1.0))
    store.put("file", lasting(b"y" * 50_000, 100, "tag", cost_s=1.0))
    return tmp_path / "answers"


def use(store: DiskStore) -> None:
    """Everything that may be asked of a store; a CorruptEntry may come of `get` and `peek` only."""
    for name in ("row", "file"):
        for look in (store.get, store.peek):
            with suppress(CorruptEntry):
                found = look(name)
                assert found is None or type(found.value) is bytes  # which bytes is the codec's
        list(store.names(name_tag(name)))
    list(store.names())
    list(store.names("tag"))
    store.size()
    store.touch(["row", "file"])
    store.generation()
    store.sweep()


COLUMNS = ("key", "raw", "store_time", "expire_time", "access_time", "access_count", "tag", "size",
           "mode", "filename", "value")  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_of_another_type_is_refused_and_the_store_goes_on(
    store: DiskStore, directory: Path, column: str
) -> None:
    for odd in [*ODD, *(ODD_TEXTS if column == "tag" else ())]:
        for name in ("row", "file"):
            statement = f"UPDATE OR IGNORE Cache SET {column} = ? WHERE key = ?"
            sql(directory, statement, odd, name)
        use(store)
        for name in ("row", "file"):
            store.delete(name)
            assert store.get(name) is None
            store.put(name, lasting(b"x" if name == "row" else b"y" * 50_000, 100, "tag"))
            assert store.get(name) is not None
    store.clear()
    assert store.size()[0] == 0


def test_rows_of_random_columns_never_raise_anything_else(
    store: DiskStore, directory: Path
) -> None:
    chance = random.Random(1)
    for _ in range(300):
        changes = chance.sample(COLUMNS, 3)
        values = [chance.choice([*ODD, *ODD_TEXTS, OURS, "../x"]) for _ in changes]
        assigned = ", ".join(f"{column} = ?" for column in changes)
        sql(directory, f"UPDATE OR IGNORE Cache SET {assigned} WHERE key = 'row'", *values)
        use(store)
        store.put("row", lasting(b"x", 100, "tag"))
    store.forget("tag")
    store.clear()
    assert store.size()[0] == 0


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("setting", ["count", "size", "disk_min_file_size", "disk_odd", "set"])
def test_odd_settings_cost_the_database_at_most(
    store: DiskStore, directory: Path, setting: str, value: object
) -> None:
    sql(directory, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", setting, value)
    use(store)
    again = DiskStore(directory, BUDGET)
    use(again)
    again.put("new", lasting(b"z" * 50_000))
    assert again.get("new") is not None
    again.close()


def test_a_row_of_a_negative_size_leaves_the_budget_as_it_is(
    store: DiskStore, directory: Path
) -> None:
    sql(directory, "UPDATE Cache SET size = -1000000000 WHERE key = 'row'")
    store.put("other", lasting(b"z" * 50_000))
    assert store.size()[1] >= 100_000
    assert store.get("other") is not None


def test_a_row_before_the_first_is_forgotten_like_the_others(
    store: DiskStore, directory: Path
) -> None:
    sql(directory, "UPDATE Cache SET rowid = -5 WHERE key = 'row'")
    assert sorted(store.names()) == ["file", "row"]
    store.clear()
    assert store.get("row") is None
