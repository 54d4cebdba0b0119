"""python -m cache_store, as an operator uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_store.__main__ import main
from cache_store.cache import ResponseCache, open_cache
from cache_store.command_line import COMMANDS
from cache_store.images import digest
from cache_store.keys import make_key
from cache_store.types import CacheQuery, Hit, ImagePart
from tests.cache_store.samples import ANSWER, CAT, QUERY, ROOT, answer, asked, name_of, query
from tests.pictures import photo, saved

OTHER = query(model="other")
PHOTO = asked(ImagePart(digest(photo())), "What is this?")
ALL = (QUERY, OTHER, PHOTO)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A cache of three answers."""
    directory = tmp_path / "cache"
    cache = open_cache(directory)
    for asking in ALL:
        cache.store(asking, ANSWER)
    cache.lookup(QUERY)
    cache.close()
    return directory


def kept(directory: Path) -> list[CacheQuery]:
    cache = open_cache(directory)
    found = [asking for asking in ALL if isinstance(cache.lookup(asking), Hit)]
    cache.close()
    return found


def test_out_and_in_again(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, new = tmp_path / "answers.pack", tmp_path / "new" / "cache"
    assert main(["export", str(directory), str(archive)]) == 0
    assert "3 exported, 0 refused" in capsys.readouterr().err
    assert archive.stat().st_mode & 0o777 == 0o600
    assert main(["verify", str(archive)]) == 0
    assert main(["import", str(new), str(archive)]) == 0
    assert "3 verified (3 kept), 0 refused" in capsys.readouterr().err
    assert kept(new) == list(ALL)
    assert main(["verify", str(new)]) == 0
    assert new.stat().st_mode & 0o777 == 0o700


def test_standard_input_and_output_will_do(directory: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cache_store"]
    export = subprocess.run(
        [*command, "export", str(directory), "-", "--model", "other"],
        cwd=ROOT, capture_output=True, timeout=60,
    )  # fmt: skip
    assert export.returncode == 0, export.stderr
    new = tmp_path / "new"
    done = subprocess.run(
        [*command, "import", str(new), "-"],
        cwd=ROOT, input=export.stdout, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert kept(new) == [OTHER]


def test_what_is_refused_is_named_and_the_status_is_one(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = open_cache(directory)
    (name,) = [name for name in cache.names() if ":other:" in name]
    stored = cache.read(name)
    assert stored is not None
    cache._store.put(name, stored._replace(value=stored.value + b"?"))
    cache.close()
    for command in (["verify", str(directory)], ["export", str(directory), str(tmp_path / "a")]):
        assert main(command) == 1
        told = capsys.readouterr().err
        assert f"refused {name}: checksum differs" in told
        assert "1 refused" in told


def test_a_failed_export_leaves_no_half_archive(directory: Path, tmp_path: Path) -> None:
    assert main(["export", str(directory), str(tmp_path / "no" / "folder.pack")]) == 2
    archive = tmp_path / "a.pack"
    archive.mkdir()  # in the way
    assert main(["export", str(directory), str(archive)]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pack", "cache"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["stats", "NOWHERE"], "there is no cache in"),
        (["export", "NOWHERE", "x"], "there is no cache in"),
        (["verify", "NOWHERE"], "there is no cache in"),
        (["forget", "NOWHERE", "--all"], "there is no cache in"),
        (["stats", "ftp://x"], "names no store"),
        (["import", "CACHE", "NOWHERE"], "No such file"),
        (["import", "CACHE", "README.md"], "no archive of cache_store"),
        (["verify", "README.md"], "no archive of cache_store"),
        (["forget", "CACHE", "--entry", "qwen3vl:x"], "there is no entry qwen3vl:x"),
        (["forget", "CACHE", "--scope", "short"], "there is no entry short"),
        (["forget", "CACHE", "--picture", "NOWHERE"], "neither a picture file nor a digest"),
        (["forget", "CACHE", "--picture", "README.md"], "cannot identify"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    told: str,
) -> None:
    places = {"CACHE": directory, "NOWHERE": tmp_path / "nowhere", "README.md": ROOT / "README.md"}
    assert main([str(places.get(word, word)) for word in command]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert kept(directory) == list(ALL)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "command", [[], ["forget", "x"], ["forget", "x", "--all", "--model", "m"], ["burn"],
                ["forget", "x", "--older-than", "soon"]],
)  # fmt: skip
def test_what_is_misspelt_ends_with_status_two(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for word in ("usage:", "exit status", "CACHE", *(() if command else COMMANDS)):
        assert word in told


# --- forget ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (["--all"], ()),
        (["--model", "other"], (QUERY, PHOTO)),
        (["--model", "unknown"], ALL),
        (["--picture", CAT], (PHOTO,)),
        (["--picture", "FILE"], (QUERY, OTHER)),
        (["--entry", str(make_key(QUERY)[0])], (OTHER, PHOTO)),
        (["--entry", name_of(QUERY)], (OTHER, PHOTO)),
        (["--scope", make_key(OTHER)[0].scope], (QUERY, PHOTO)),
        (["--scope", str(make_key(OTHER)[0])], (QUERY, PHOTO)),
        (["--older-than", "1h"], ALL),
        (["--older-than", "0s"], ()),
    ],
)
def test_forgetting(
    directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    what: list[str],
    left: tuple[CacheQuery, ...],
) -> None:
    file = tmp_path / "photo.bmp"
    file.write_bytes(saved(photo(), "BMP"))
    what = [str(file) if word == "FILE" else word for word in what]
    assert main(["forget", str(directory), *what]) == 0
    assert f"{len(ALL) - len(left)} forgotten" in capsys.readouterr().out
    assert kept(directory) == list(left)


@pytest.fixture
def running(directory: Path) -> Iterator[ResponseCache]:
    """A server that has all answers in its memory."""
    cache = open_cache(directory)
    for asking in ALL:
        assert isinstance(cache.lookup(asking), Hit)
    yield cache
    cache.close()


def test_a_running_server_serves_nothing_that_was_forgotten(
    directory: Path, running: ResponseCache
) -> None:
    assert main(["forget", str(directory), "--model", "other"]) == 0
    assert not isinstance(running.lookup(OTHER), Hit)
    assert isinstance(running.lookup(QUERY), Hit)
    assert main(["forget", str(directory), "--all"]) == 0
    assert not isinstance(running.lookup(QUERY), Hit)


def test_a_running_server_serves_what_was_imported(
    directory: Path, tmp_path: Path, running: ResponseCache
) -> None:
    other = open_cache(tmp_path / "other")
    newer = asked("something new")
    other.store(newer, answer(text="new"))
    other.close()
    archive = str(tmp_path / "archive")
    assert main(["export", str(tmp_path / "other"), archive]) == 0
    assert main(["import", str(directory), archive]) == 0
    assert isinstance(running.lookup(newer), Hit)


# --- stats -------------------------------------------------------------------------------------


def test_stats_for_people_and_for_programs(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", str(directory)]) == 0
    told = capsys.readouterr().out
    for part in ("hits_l1", "evicted, quarantined", "entries", "hit_rate"):
        assert part in told
    assert main(["stats", str(directory), "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert (read["hits_l1"], read["stored"], read["entries"], read["hit_rate"]) == (1, 3, 3, 1.0)
    assert len(read["series"]) == 60
