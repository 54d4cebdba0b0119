"""A planted row makes the disk store read, write, move or remove no file but its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from diskcache.core import MODE_BINARY, MODE_RAW

from cache_store.errors import CorruptEntry
from cache_store.stores.disk import DiskStore
from tests.cache_store.stores.contract import lasting
from tests.cache_store.stores.test_planted import BUDGET, OURS, directory, sql, store

__all__ = ["directory", "store"]  # fixtures


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "outside" / "cd"
    folder.mkdir(parents=True)
    file = folder / OURS.rpartition("/")[2]
    file.write_bytes(b"precious")
    return file


def point(directory: Path, precious: Path, how: str) -> str:
    """The name of a file that leads to the precious one."""
    match how:
        case "above":
            return os.path.relpath(precious, directory)
        case "absolute":
            return str(precious)
        case "database":
            return "cache.db"
        case "linked file":
            (directory / "ab" / "cd").mkdir(parents=True, exist_ok=True)
            (directory / OURS).symlink_to(precious)
        case "linked folder":
            (directory / "ab").symlink_to(precious.parent.parent)
        case "pipe":
            (directory / "ab" / "cd").mkdir(parents=True, exist_ok=True)
            os.mkfifo(directory / OURS)
        case "folder":
            (directory / OURS).mkdir(parents=True)
    return OURS


HOW = ["above", "absolute", "database", "linked file", "linked folder", "pipe", "folder"]


@pytest.mark.parametrize("how", HOW)
def test_a_file_outside_is_neither_read_nor_removed(
    store: DiskStore, directory: Path, precious: Path, how: str
) -> None:
    name = point(directory, precious, how)
    for remove in (
        lambda: store.delete("row"),
        lambda: store.forget("tag"),
        lambda: store.put("row", lasting(b"new")),
        lambda: store.put("row", lasting(b"new", -1)),
        store.clear,
    ):
        store.put("row", lasting(b"x", 100, "tag"))
        statement = "UPDATE Cache SET filename = ?, mode = ?, value = NULL WHERE key = 'row'"
        sql(directory, statement, name, MODE_BINARY)
        with pytest.raises(CorruptEntry):
            store.get("row")
        remove()
        assert precious.read_bytes() == b"precious"
        assert (directory / "cache.db").exists()
    sql(directory, "INSERT INTO Cache (key, raw, expire_time, mode, filename, value)"
        " VALUES ('row', 1, 1.0, ?, ?, 'x')", MODE_RAW, name)  # fmt: skip
    store.sweep()
    assert store.size()[0] == 0
    assert precious.read_bytes() == b"precious"


def test_eviction_removes_nothing_outside(tmp_path: Path, precious: Path) -> None:
    store = DiskStore(tmp_path / "answers", 2**20)
    store.put("row", lasting(b"x"))
    name = os.path.relpath(precious, tmp_path / "answers")
    sql(tmp_path / "answers", "UPDATE Cache SET filename = ?, access_time = -1", name)
    for number in range(40):
        store.put(str(number), lasting(os.urandom(50_000)))
    assert store.get("row") is None
    assert precious.exists()
    store.close()


def test_nothing_is_written_through_a_linked_folder(
    store: DiskStore, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (directory / "ab").symlink_to(outside)
    monkeypatch.setattr(os, "urandom", lambda count: bytes.fromhex("abcd") + bytes(count - 2))
    with pytest.raises(Exception, match="outside"):
        store.put("large", lasting(b"z" * 50_000))
    assert list(outside.iterdir()) == []


def test_repair_moves_what_is_ours_and_nothing_else(store: DiskStore, directory: Path) -> None:
    store.close()
    (directory / "notes.txt").write_text("mine")
    (directory / "damaged-photos").mkdir()
    (directory / "cache.db").write_bytes(b"this is no database " * 1000)
    for end in ("-wal", "-shm"):
        (directory / f"cache.db{end}").unlink(missing_ok=True)
    DiskStore(directory, BUDGET).close()
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "damaged-photos").is_dir()
    assert len([p for p in directory.iterdir() if p.name.startswith("damaged-")]) == 2
