"""L2 on disk: the contract, and what a hostile or broken directory may not do."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import diskcache
import pytest
from diskcache.core import MODE_PICKLE, MODE_TEXT

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores import disk, rows
from cache_store.stores.base import Store, Stored
from cache_store.stores.disk import DiskStore
from cache_store.stores.rows import Rows
from tests.cache_store.samples import ROOT
from tests.cache_store.stores.contract import StoreContract, lasting

BUDGET = 2**26


class TestDiskStore(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return DiskStore(tmp_path / "answers", BUDGET)


class Marker:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def plant(directory: Path, column: str, value: bytes, raw: int, mode: int, key: object) -> None:
    """Write a row as somebody would who can write to the directory."""
    with sqlite3.connect(directory / "cache.db") as database:
        database.execute(
            "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count,"
            f" tag, size, mode, {column}) VALUES (?, ?, 0, 9e9, 0, 0, NULL, 0, ?, ?)",
            (key, raw, mode, value),
        )
    database.close()


def test_the_directory_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "answers"
    directory.mkdir(mode=0o755)
    DiskStore(directory, BUDGET).close()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_values_are_there_after_a_restart(tmp_path: Path) -> None:
    first = DiskStore(tmp_path, BUDGET)
    kept = {str(n): lasting(b"%d" % n * (1 + n * 3000)) for n in range(12)}
    for name, stored in kept.items():
        first.put(name, stored)
    first.close()
    second = DiskStore(tmp_path, BUDGET)
    for name, stored in kept.items():
        found = second.get(name)
        assert found is not None
        assert found.value == stored.value
        assert found.expires_at == pytest.approx(stored.expires_at, abs=0.05)
    second.close()


def test_a_pickled_value_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "answers", BUDGET)
    marker = tmp_path / "marker"
    plant(tmp_path / "answers", "value", pickle.dumps(Marker(marker)), 1, MODE_PICKLE, "name")
    with pytest.raises(CorruptEntry):
        store.get("name")
    assert not marker.exists()
    store.delete("name")
    assert store.get("name") is None
    store.close()
    assert not marker.exists()


def test_a_pickled_value_in_a_file_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "answers", BUDGET)
    marker = tmp_path / "marker"
    (tmp_path / "answers" / "evil.val").write_bytes(pickle.dumps(Marker(marker)))
    plant(tmp_path / "answers", "filename", b"evil.val", 1, MODE_PICKLE, "name")
    with pytest.raises(CorruptEntry):
        store.get("name")
    store.close()
    assert not marker.exists()


def test_a_pickled_key_is_never_loaded(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "answers", BUDGET)
    marker = tmp_path / "marker"
    pickled = sqlite3.Binary(pickle.dumps(Marker(marker)))
    plant(tmp_path / "answers", "value", b"x", 0, 1, pickled)
    assert store.get("name") is None
    assert store.size()[0] == 1
    with pytest.raises(CorruptEntry):
        list(store._rows)
    store.clear()
    store.close()
    assert not marker.exists()


def test_the_planted_rows_would_have_run_in_a_plain_diskcache(tmp_path: Path) -> None:
    diskcache.Cache(str(tmp_path / "plain")).close()
    marker = tmp_path / "marker"
    plant(tmp_path / "plain", "value", pickle.dumps(Marker(marker)), 1, MODE_PICKLE, "name")
    with diskcache.Cache(str(tmp_path / "plain")) as plain:
        plain.get("name")
    assert marker.exists()


def test_a_planted_text_is_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    (tmp_path / "text.val").write_text("text")
    plant(tmp_path, "filename", b"text.val", 1, MODE_TEXT, "name")
    with pytest.raises(CorruptEntry):
        store.get("name")
    store.close()


def test_only_texts_are_names_and_only_bytes_are_values(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    with pytest.raises(TypeError):
        store.put(1, lasting(b"x"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        store.put("name", lasting("text"))  # type: ignore[arg-type]
    assert store.size()[0] == 0
    store.close()


def test_tags_whose_hashes_meet_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_hash", lambda tag: 7)
    store = DiskStore(tmp_path, BUDGET)
    store.put("cat", lasting(b"1", 100, "cat"))
    store.put("dog", lasting(b"2", 100, "dog"))
    assert list(store.names("cat")) == ["cat"]
    assert store.forget("cat") == 1
    assert store.get("dog") is not None
    store.close()


@pytest.mark.parametrize("label", [None, "", "{}", "[]", "[null]", '["x"]', "[1", b"\x80\x04"])
def test_a_planted_label_is_refused_and_can_be_deleted(tmp_path: Path, label: object) -> None:
    store = DiskStore(tmp_path, BUDGET)
    plant(tmp_path, "value", b"x", 1, 1, "name")
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("UPDATE Cache SET tag = ?", (label,))
    database.close()
    with pytest.raises(CorruptEntry):
        store.get("name")
    store.delete("name")
    assert store.get("name") is None
    store.close()


def test_rows_that_go_take_their_tags_along(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    for name in "abcd":
        store.put(name, lasting(b"x", 0.1 if name == "c" else 100, "tag", name))
    store.delete("a")
    store.forget("b")
    time.sleep(0.15)
    store._rows.expire()
    assert len(store._rows._sql("SELECT * FROM Tags").fetchall()) == 2
    store.clear()
    assert store._rows._sql("SELECT * FROM Tags").fetchall() == []
    store.close()


def test_the_budget_holds(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 4 * 2**20)
    for number in range(200):
        store.put(str(number), lasting(os.urandom(100_000)))
    assert store.get("199") is not None
    assert store.get("0") is None
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*.val"))
    assert on_disk <= 5 * 2**20
    assert store.size()[1] <= 5 * 2**20
    store.close()


def test_two_processes_share_one_directory(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from cache_store.stores.disk import DiskStore\n"
        "from cache_store.stores.base import Stored\n"
        f"store = DiskStore(Path({str(tmp_path)!r}), {BUDGET})\n"
        "for n in range(100): store.put(f'theirs{n}', Stored(b'%d' % n, time.time() + 99))\n"
        "print(store.get('mine0').value.decode())\n"
        "store.close()\n"
    )
    store = DiskStore(tmp_path, BUDGET)
    store.put("mine0", lasting(b"hello"))
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    for number in range(100):
        store.put(f"mine{number}", lasting(b"hello"))
    assert child.communicate(timeout=30)[0].strip() == "hello"
    assert child.returncode == 0
    assert store.size()[0] == 200
    for number in range(100):
        found = store.get(f"theirs{number}")
        assert found is not None
        assert found.value == b"%d" % number
    store.close()


def test_the_database_is_asked_for_its_generation_only_when_something_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    ask = Rows.generation

    def counted(rows: Rows) -> int:
        asked.append(rows)
        return ask(rows)

    monkeypatch.setattr(Rows, "generation", counted)
    monkeypatch.setattr(disk, "_BELIEVED_S", 60.0)
    store, other = DiskStore(tmp_path, BUDGET), DiskStore(tmp_path, BUDGET)
    before = store.generation()
    asked.clear()
    assert [store.generation() for _ in range(5)] == [before] * 5
    assert asked == []
    for forget in (other.clear, lambda: other.forget("tag"), lambda: store.forget("tag")):
        forget()
        after = store.generation()
        assert after != before
        assert after == other.generation() == ask(store._rows)
        before = after
    store.close()
    other.close()


def test_a_new_generation_that_nobody_told_of_is_found_out(tmp_path: Path) -> None:
    store, killed = DiskStore(tmp_path, BUDGET), DiskStore(tmp_path, BUDGET)
    before = store.generation()
    killed._rows.renew()
    deadline = time.monotonic() + 5
    while store.generation() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    store.close()
    killed.close()


def test_without_its_tally_the_generation_is_right_all_the_same(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.generation()
    (tmp_path / "forgotten").unlink()
    for _ in range(3):
        store._rows.renew()
        assert store.generation() == store._rows.generation()
    store.forget("tag")
    assert store.generation() == store._rows.generation()
    store.close()


def test_who_cannot_tell_others_what_is_forgotten_says_so(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    (tmp_path / "forgotten").unlink()
    (tmp_path / "forgotten").mkdir()
    with pytest.raises(StoreUnavailable):
        store.forget("tag")
    store.close()


def test_a_damaged_database_is_moved_aside_with_its_value_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x" * 100_000))
    store.close()
    (tmp_path / "cache.db").write_bytes(b"this is no database " * 1000)
    store = DiskStore(tmp_path, BUDGET)
    assert store.get("name") is None
    store.put("name", lasting(b"new"))
    found = store.get("name")
    assert found is not None
    assert found.value == b"new"
    store.close()
    (aside,) = tmp_path.glob("damaged-*")
    assert (aside / "cache.db").read_bytes().startswith(b"this is no database")
    assert len(list(aside.rglob("*.val"))) == 1
    assert [path for path in tmp_path.rglob("*.val") if aside not in path.parents] == []
    assert "damaged" in caplog.text


def test_a_half_overwritten_database_is_an_error_or_a_miss_and_a_restart_heals_it(
    tmp_path: Path,
) -> None:
    store = DiskStore(tmp_path, BUDGET)
    for number in range(300):
        store.put(str(number), lasting(b"x" * 2000))
    store.close()
    size = (tmp_path / "cache.db").stat().st_size
    with (tmp_path / "cache.db").open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xa5" * (size // 2))
    store = DiskStore(tmp_path, BUDGET)
    for number in range(300):
        store.put(str(number), lasting(b"y"))
        found = store.get(str(number))
        assert found is not None
        assert found.value == b"y"
    store.close()


def test_a_database_truncated_while_open_is_replaced(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    for number in range(300):
        store.put(str(number), lasting(b"x" * 3000))
    store._rows._sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._rows._sql("PRAGMA shrink_memory").fetchall()
    os.truncate(tmp_path / "cache.db", 8192)
    for number in range(300):
        found = store.get(str(number))
        assert found is None or found.value == b"x" * 3000
    for number in range(300):
        store.put(str(number), lasting(b"y"))
    assert store.size()[0] == 300
    assert len(list(tmp_path.glob("damaged-*"))) == 1
    store.close()


@pytest.mark.parametrize("pattern", ["cache.db", "cache.db*", ""])
def test_a_database_removed_while_open_is_replaced(tmp_path: Path, pattern: str) -> None:
    directory = tmp_path / "answers"
    store = DiskStore(directory, BUDGET)
    store.put("name", lasting(b"x"))
    for path in directory.glob(pattern) if pattern else []:
        path.unlink()
    if not pattern:
        shutil.rmtree(directory)
    assert store.get("name") is None
    store.put("other", lasting(b"x" * 100_000))
    store.close()
    store = DiskStore(directory, BUDGET)
    assert store.get("other") is not None
    store.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_full_or_failing_disk_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = DiskStore(tmp_path, BUDGET)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(diskcache.Disk, "_write", fail)
    with pytest.raises(StoreUnavailable, match=os.strerror(number)):
        store.put("name", lasting(b"x" * 100_000))
    monkeypatch.undo()
    store.put("name", lasting(b"x" * 100_000))
    assert store.get("name") is not None
    store.close()


def test_a_write_that_fails_leaves_the_value_before_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tag: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x" * 100_000))
    before = list(tmp_path.rglob("*.val"))
    with monkeypatch.context() as failing:
        failing.setattr(rows, "_hash", fail)  # after the row was written, before the commit
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            store.put("name", lasting(b"y" * 100_000, 100, "tag"))
    assert list(tmp_path.rglob("*.val")) == before
    found = store.get("name")
    assert found is not None
    assert found.value == b"x" * 100_000
    store.put("name", lasting(b"y" * 100_000, 100, "tag"))
    assert len(list(tmp_path.rglob("*.val"))) == 1
    store.close()


def test_what_a_full_disk_took_of_a_value_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_a_part(disk: diskcache.Disk, path: str, *_: object) -> None:
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = DiskStore(tmp_path, BUDGET)
    monkeypatch.setattr(diskcache.Disk, "_write", write_a_part)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.put("name", lasting(b"x" * 100_000))
    assert list(tmp_path.rglob("*.val")) == []
    store.close()


def test_a_full_database_is_unavailable(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    (pages,) = store._rows._sql("PRAGMA page_count").fetchone()
    store._rows._sql(f"PRAGMA max_page_count = {pages + 4}").fetchall()  # as on a full disk
    store.put("first", lasting(b"x" * 3000))
    with pytest.raises(StoreUnavailable, match="full"):
        store.put("second", lasting(b"x" * 30_000))
    assert store.get("first") is not None
    store.close()


def test_a_database_that_another_process_holds_is_unavailable(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x"))
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable):
        store.put("name", lasting(b"y"))
    assert store.get("name") is not None
    other.execute("ROLLBACK")
    other.close()
    store.put("name", lasting(b"z"))
    found = store.get("name")
    assert found is not None
    assert found.value == b"z"
    store.close()


def test_a_path_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable):
        DiskStore(tmp_path / "file", BUDGET)
    with pytest.raises(StoreUnavailable):
        DiskStore(tmp_path / "file" / "below", BUDGET)


def test_a_value_whose_file_somebody_removed_is_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x" * 100_000))
    for path in tmp_path.rglob("*.val"):
        path.unlink()
    with pytest.raises(CorruptEntry):
        store.get("name")
    store.close()


def test_a_read_writes_nothing(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x"))
    before = store._rows._sql("SELECT total_changes()").fetchone()
    for _ in range(10):
        store.get("name")
        store.get("absent")
    assert store._rows._sql("SELECT total_changes()").fetchone() == before
    store.close()


@pytest.mark.parametrize("end", ["'never'", "NULL", "x'00'"])
def test_a_planted_end_that_is_no_number_is_refused(tmp_path: Path, end: str) -> None:
    store = DiskStore(tmp_path, BUDGET)
    plant(tmp_path, "value", b"x", 1, 1, "name")
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute(f"UPDATE Cache SET expire_time = {end}")
    database.close()
    with pytest.raises(CorruptEntry):
        store.get("name")
    store.close()


@pytest.mark.parametrize("value", [None, "text"])
def test_a_planted_generation_that_is_none_is_damage(tmp_path: Path, value: object) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", lasting(b"x"))
    store._rows._sql("UPDATE State SET value = ? WHERE name = 'generation'", (value,))
    assert type(store.generation()) is int
    assert store.get("name") is None
    assert len(list(tmp_path.glob("damaged-*"))) == 1
    store.close()


def test_put_and_get_agree_on_stored(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, BUDGET)
    store.put("name", Stored(b"x", 4e9))
    found = store.get("name")
    assert found is not None
    assert found.expires_at == pytest.approx(4e9)
    store.close()
