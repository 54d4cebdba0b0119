"""Which frames were taken from which video."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store import video_memo
from cache_store.database import Database
from cache_store.video_memo import RememberedFrame, RememberedVideo, VideoMemo


def remembered(*times: float) -> RememberedVideo:
    frames = tuple(RememberedFrame(at, f"{at:064}", 64, 48) for at in times)
    return RememberedVideo(12.5, 0.0, 12.5, 0.1, frames)


def test_what_was_put_is_got_also_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "meta")
    memo = VideoMemo(database)
    memo.put("a", remembered(0, 1 / 3, 7.25))
    assert memo.get("a") == remembered(0, 1 / 3, 7.25)
    assert memo.get("b") is None
    database.close()
    database = Database(tmp_path / "meta")
    assert VideoMemo(database).get("a") == remembered(0, 1 / 3, 7.25)
    database.close()


def test_nothing_is_committed_on_the_path_of_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path / "meta")
    memo = VideoMemo(database)
    with monkeypatch.context() as context:
        context.setattr(database, "write", lambda statements: pytest.fail("committed"))
        memo.put("a", remembered(0))
    assert memo.get("a") == remembered(0)
    assert database.read("SELECT count(*) FROM videos") == [(0,)]
    database.close()


def test_a_second_word_takes_the_place_of_the_first() -> None:
    database = Database(None)
    memo = VideoMemo(database)
    memo.put("a", remembered(0))
    memo.put("a", remembered(0, 1))
    database.write(())
    assert memo.get("a") == VideoMemo(database).get("a") == remembered(0, 1)


def test_memory_and_disk_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_memo, "_IN_MEMORY", 2)
    monkeypatch.setattr(video_memo, "_ON_DISK", 3)
    monkeypatch.setattr(video_memo, "_PRUNE_EVERY", 4)
    database = Database(None)
    memo = VideoMemo(database)
    for number in range(4):
        memo.put(str(number), remembered(number))
    assert database.read("SELECT count(*) FROM videos") == [(3,)]
    assert memo.get("3") == remembered(3)
    kept = [key for key in "0123" if VideoMemo(database).get(key)]
    assert len(kept) == 3


def test_nothing_is_remembered_after_clearing_here_or_in_another_process(tmp_path: Path) -> None:
    here, there = (VideoMemo(Database(tmp_path / "meta")) for _ in range(2))
    here.put("a", remembered(0))
    here._database.write(())
    there.put("b", remembered(1))
    there.clear()
    here.clear_memory()
    assert [memo.get(key) for memo in (here, there) for key in "ab"] == [None] * 4
