"""Files bounded in bytes and in time: whole or gone, over restarts and beside other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwen_ui.bounded_folder import BoundedFolder


def kept(folder: Path, names: str) -> str:
    return "".join(name for name in names if (folder / name).exists())


def age(file: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_what_was_put_is_found(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1000, 60)
    path = folder.put("a", b"12345")
    assert folder.find("a") == path
    assert path.read_bytes() == b"12345"
    assert folder.find("b") is None
    assert BoundedFolder(tmp_path, 1000, 60).find("a") == path


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 30, 60)
    for name in "abc":
        folder.put(name, b"x" * 10)
    folder.find("a")
    folder.put("b", b"x" * 10)
    folder.put("d", b"x" * 10)
    assert kept(tmp_path, "abcd") == "abd"


def test_the_order_of_use_is_kept_over_a_restart(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 30, 600)
    for number, name in enumerate("abc"):
        age(folder.put(name, b"x" * 10), 100 - number)
    folder = BoundedFolder(tmp_path, 30, 600)
    folder.find("a")
    folder = BoundedFolder(tmp_path, 30, 600)
    folder.put("d", b"x" * 10)
    assert kept(tmp_path, "abcd") == "acd"


def test_the_budget_holds_over_many_puts_and_after_it_was_lowered(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1000, 600)
    for number in range(50):
        folder.put(str(number), b"x" * (number * 13 % 200 + 1))
        total = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert total == folder._bytes <= 1000
    BoundedFolder(tmp_path, 300, 600)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 300


def test_the_newest_is_kept_even_when_it_alone_is_over_the_budget(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 10, 60)
    folder.put("a", b"x" * 5)
    folder.put("b", b"x" * 50)
    assert kept(tmp_path, "ab") == "b"


def test_what_is_past_its_time_goes(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1000, 60)
    age(folder.put("a", b"x"), 61)
    folder.put("b", b"x")
    BoundedFolder(tmp_path, 1000, 60)
    assert kept(tmp_path, "ab") == "b"


@pytest.mark.parametrize("restarted", [False, True])
def test_use_prolongs_the_time_of_a_file(tmp_path: Path, restarted: bool) -> None:
    folder = BoundedFolder(tmp_path, 1000, 600)
    path = folder.put("a", b"x")
    age(path, 599)
    if restarted:
        folder = BoundedFolder(tmp_path, 1000, 600)
    else:
        folder._touched["a"] -= 61  # a minute has gone by
    folder.find("a")
    assert path.stat().st_mtime == pytest.approx(time.time(), abs=5)


def test_two_uses_within_a_minute_are_written_down_once(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1000, 600)
    path = folder.put("a", b"x")
    age(path, 30)
    folder.find("a")
    assert path.stat().st_mtime == pytest.approx(time.time() - 30, abs=5)


def test_a_file_that_another_process_removed_is_gone_and_can_come_back(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1000, 60)
    folder.put("a", b"12345").unlink()
    assert folder.find("a") is None
    assert folder._bytes == 0
    folder.put("a", b"12345")
    assert folder.find("a")
    assert folder._bytes == 5


def test_a_file_that_another_process_wrote_is_found_and_counted(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 20, 60)
    (tmp_path / "a").write_bytes(b"x" * 15)
    assert folder.find("a")
    folder.put("b", b"x" * 15)
    assert kept(tmp_path, "ab") == "b"


def test_the_folder_is_private(tmp_path: Path) -> None:
    BoundedFolder(tmp_path / "files", 1000, 60)
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


def test_many_threads_put_the_same_and_other_files(
    tmp_path: Path, repetitions: Callable[[int], int]
) -> None:
    folder = BoundedFolder(tmp_path, 5000, 600)

    def work(number: int) -> None:
        for turn in range(repetitions(200)):
            name = str((number + turn) % 9)
            path = folder.put(name, name.encode() * 700)
            try:
                assert path.read_bytes() == name.encode() * 700
            except FileNotFoundError:
                continue  # the eighth file pushed it out

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    folder.put("last", b"x")
    on_disk = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    for name in "012345678":
        folder.find(name)  # an eviction and a put that crossed: what is there is what counts
    assert dict(folder._sizes) == on_disk
    assert folder._bytes == sum(on_disk.values()) <= 5000


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = BoundedFolder(tmp_path, 5000, 600)

    def fail(*_: object) -> None:
        raise OSError("broken")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        folder.put("a", b"x")
    assert list(tmp_path.iterdir()) == []
    assert folder._bytes == 0


def test_clearing_leaves_what_is_named_and_takes_what_another_process_wrote(tmp_path: Path) -> None:
    folder, other = BoundedFolder(tmp_path, 1000, 60), BoundedFolder(tmp_path, 1000, 60)
    for name in "ab":
        folder.put(name, b"x" * 10)
    other.put("c", b"x" * 10)
    folder.clear(keep="a")
    assert kept(tmp_path, "abc") == "a"
    assert folder._bytes == 10
