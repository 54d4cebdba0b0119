"""Remembered digests: bounded, kept over restarts, never across decoder versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store import memo as memo_module
from cache_store.database import Database
from cache_store.memo import DigestMemo, Remembered

CAT = Remembered("c" * 64, 640, 480, 1)
MOVING = Remembered("d" * 64, 32, 32, 7)


def test_what_was_put_is_got() -> None:
    memo = DigestMemo(Database(None))
    assert memo.get("file") is None
    memo.put("file", CAT)
    memo.put("other", MOVING)
    assert memo.get("file") == CAT
    assert memo.get("other") == MOVING


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    DigestMemo(database).put("file", MOVING)
    database.close()
    database = Database(tmp_path / "meta")
    assert DigestMemo(database).get("file") == MOVING
    database.close()


def test_another_decoder_version_remembers_nothing_of_this_one() -> None:
    database = Database(None)
    DigestMemo(database, "1/12.0").put("file", CAT)
    database.write(())
    newer = DigestMemo(database, "1/12.1")
    assert newer.get("file") is None
    newer.put("file", MOVING)
    database.write(())
    assert DigestMemo(database, "1/12.1").get("file") == MOVING
    assert DigestMemo(database, "1/12.0").get("file") is None


def test_a_corrected_digest_replaces_the_wrong_one(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    memo = DigestMemo(database)
    memo.put("file", CAT)
    memo.put("file", MOVING)
    assert memo.get("file") == MOVING
    database.write(())
    assert DigestMemo(database).get("file") == MOVING
    database.close()


def test_memory_and_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo_module, "_IN_MEMORY", 10)
    monkeypatch.setattr(memo_module, "_ON_DISK", 30)
    monkeypatch.setattr(memo_module, "_PRUNE_EVERY", 20)
    database = Database(None)
    memo = DigestMemo(database)
    for number in range(100):
        memo.put(str(number), CAT)
    assert len(memo._recent) == 10
    assert database.read("SELECT count(*) FROM digests") == [(30,)]
    assert memo.get("99") == CAT


def test_the_oldest_are_pruned_first(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(None)
    memo = DigestMemo(database)
    clock = iter(range(10))
    monkeypatch.setattr("time.time", lambda: next(clock))
    for number in range(10):
        memo.put(str(number), CAT)
    memo.prune(3)
    kept = database.read("SELECT file FROM digests ORDER BY used_at")
    assert kept == [("7",), ("8",), ("9",)]


def test_a_broken_file_still_remembers_in_memory(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    memo = DigestMemo(database)
    database.close()
    memo.put("file", CAT)
    assert memo.get("file") == CAT
    assert memo.get("other") is None


def test_nothing_is_remembered_after_clearing(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    memo = DigestMemo(database)
    memo.put("file", CAT)
    memo.clear()
    assert memo.get("file") is None
    database.close()
    assert DigestMemo(Database(tmp_path / "meta")).get("file") is None


def test_what_another_process_cleared_is_not_remembered_in_memory(tmp_path: Path) -> None:
    here, there = (DigestMemo(Database(tmp_path / "meta")) for _ in range(2))
    here.put("file", CAT)
    here._database.write(())
    there.clear()
    here.clear_memory()
    assert here.get("file") is None


def test_a_forgotten_picture_is_forgotten_with_every_file_of_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    memo = DigestMemo(database)
    for file in ("file", "re-saved"):
        memo.put(file, CAT)
    memo.put("other", MOVING)
    memo.forget_picture(CAT.digest)
    for reader in (memo, DigestMemo(database)):
        assert [reader.get(file) for file in ("file", "re-saved", "other")] == [None, None, MOVING]
    database.close()


@pytest.mark.parametrize("column", ["digest", "width", "height", "frames"])
@pytest.mark.parametrize("value", [b"\xff", "text", 1.5])
def test_what_another_type_was_planted_in_is_not_remembered(column: str, value: object) -> None:
    if column == "digest" and value != b"\xff":
        return
    database = Database(None)
    DigestMemo(database).put("file", CAT)
    database.write([(f"UPDATE digests SET {column} = ?", [(value,)])])
    assert DigestMemo(database).get("file") is None
