"""The file of statistics and digests: losing it loses nothing but counts and a little speed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache_store.database import Database

ADD = "INSERT INTO counters VALUES (?, ?)"


def test_rows_are_there_after_a_restart(tmp_path: Path) -> None:
    first = Database(tmp_path / "deep" / "meta.sqlite3")
    assert first.write([(ADD, [("a", 1.0), ("b", 2.0)])])
    first.close()
    second = Database(tmp_path / "deep" / "meta.sqlite3")
    assert second.read("SELECT * FROM counters ORDER BY name") == [("a", 1.0), ("b", 2.0)]
    second.close()


def test_one_transaction_is_all_or_nothing() -> None:
    database = Database(None)
    assert not database.write([(ADD, [("a", 1.0)]), (ADD, [("a", 1.0)])])
    assert database.read("SELECT * FROM counters") == []
    database.close()


def test_what_is_written_later_is_in_the_next_write(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta.sqlite3")
    database.write_later(ADD, ("a", 1.0))
    assert database.read("SELECT * FROM counters") == []
    database.write([(ADD, [("b", 2.0)])])
    assert database.read("SELECT * FROM counters ORDER BY name") == [("a", 1.0), ("b", 2.0)]
    database.close()


def test_closing_writes_what_was_for_later(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta.sqlite3")
    database.write_later(ADD, ("a", 1.0))
    database.close()
    database = Database(tmp_path / "meta.sqlite3")
    assert database.read("SELECT * FROM counters") == [("a", 1.0)]
    database.close()


def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "meta.sqlite3"
    path.write_bytes(b"no database at all " * 500)
    database = Database(path)
    assert database.write([(ADD, [("a", 1.0)])])
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert "damaged" in caplog.text
    database.close()


def filled(path: Path) -> Database:
    database = Database(path)
    assert database.write([(ADD, [(f"counter {n}", 1.0) for n in range(5000)])])
    return database


def overwrite_the_middle(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xa5" * (size // 2))


def test_damage_is_met_and_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "meta.sqlite3"
    filled(path).close()
    overwrite_the_middle(path)
    database = Database(path)
    assert list(tmp_path.glob("*.damaged-*")) == []
    assert database.read("SELECT * FROM counters") == []  # of the new file already
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert database.write([(ADD, [("a", 1.0)])])
    assert database.read("SELECT * FROM counters") == [("a", 1.0)]
    database.close()


@pytest.mark.parametrize("harm", ["overwritten", "truncated", "removed", "garbage"])
def test_a_file_harmed_while_it_is_open_loses_counts_and_nothing_else(
    tmp_path: Path, harm: str
) -> None:
    path = tmp_path / "meta.sqlite3"
    one, other = filled(path), Database(path)
    for database in (one, other):
        database.read("PRAGMA wal_checkpoint(TRUNCATE)")
        database.read("PRAGMA shrink_memory")
    match harm:
        case "overwritten":
            overwrite_the_middle(path)
        case "truncated":
            os.truncate(path, path.stat().st_size // 2)
        case "removed":
            path.unlink()
        case _:
            path.write_bytes(b"no database at all " * 500)
    for name, database in (("one", one), ("other", other)):
        database.read("SELECT * FROM counters")
        assert database.write([(ADD, [(name, 1.0)])])
    kept = {("one", 1.0), ("other", 1.0)}
    assert set(one.read("SELECT * FROM counters")) == kept
    one.close()
    other.close()
    again = Database(path)
    assert set(again.read("SELECT * FROM counters")) == kept
    assert len(list(tmp_path.glob("meta.sqlite3.damaged-*[0-9]"))) == (harm != "removed")
    again.close()


def test_a_path_that_cannot_be_used_leaves_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    database = Database(tmp_path / "file" / "meta.sqlite3")
    assert database.write([(ADD, [("a", 1.0)])])
    assert database.read("SELECT * FROM counters") == [("a", 1.0)]
    assert caplog.text.count("not kept") == 1
    database.close()


def test_a_failure_is_reported_once_and_nothing_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "meta.sqlite3")
    database.close()
    for _ in range(3):
        assert database.read("SELECT * FROM counters") == []
        assert not database.write([(ADD, [("a", 1.0)])])
    assert caplog.text.count("not kept") == 1
