"""python -m cache_store, as an operator uses it."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cache_store import codec
from cache_store.__main__ import main
from cache_store.cache import ResponseCache, open_cache
from cache_store.command_line import COMMANDS
from cache_store.images import digest
from cache_store.keys import make_key
from cache_store.types import CacheQuery, FinishReason, Hit, ImagePart
from tests.cache_store.samples import ANSWER, CAT, QUERY, ROOT, answer, asked, name_of, query
from tests.cache_store.stores.redis_server import RedisServer
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


READING = [
    *(["stats"], ["verify"], ["export", "ARCHIVE"]),
    *(["forget", "--all"], ["forget", "--older-than", "1h"], ["forget", "--model", "m"]),
    *(["forget", "--picture", CAT], ["stale", "--model", "m", "--fingerprint", "f" * 64]),
]


def run(command: list[str], cache: object, archive: Path) -> int:
    name, *options = [str(archive) if word == "ARCHIVE" else word for word in command]
    return main([name, str(cache), *options])


def tree(folder: Path) -> set[Path]:
    """What is there; the journals of databases come and go."""
    return {path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))}


def in_one_file(database: Path) -> int:
    """Where its biggest table begins, now that all of it is in the file."""
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (size,) = opened.execute("PRAGMA page_size").fetchone()
        select = "SELECT max(rootpage) FROM sqlite_master WHERE name IN ('Cache', 'counters')"
        (root,) = opened.execute(select).fetchone()
    for end in ("-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    return int((root - 1) * size)


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize("where", ["empty", "answers only", "disk:PATH", "memory:", "redis"])
def test_without_a_cache_nothing_is_made_and_nothing_is_said_to_be_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, command: list[str]
) -> None:
    folder = tmp_path / "folder"
    (folder / "answers" if where == "answers only" else folder).mkdir(parents=True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        places = {"disk:PATH": f"disk:{tmp_path / 'nowhere'}", "memory:": "memory:",
                  "redis": f"redis://127.0.0.1:{port}/0"}  # fmt: skip
        before = tree(tmp_path)
        assert run(command, places.get(where, folder), tmp_path / "archive") == 2
    assert tree(tmp_path) == before
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1, told.err
    assert told.out == ""


@pytest.mark.parametrize("command", [*READING, ["import", "ARCHIVE"]], ids=" ".join)
@pytest.mark.parametrize("file", ["answers/cache.db", "meta.sqlite3"])
def test_a_damaged_cache_is_told_and_left_as_it_is(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str],
    file: str,
) -> None:  # fmt: skip
    archive = tmp_path / "archive"
    if command[0] == "import":
        assert main(["export", str(directory), str(archive)]) == 0
    in_one_file(directory / file)
    (directory / file).write_bytes(b"this is no database " * 1000)
    before = tree(tmp_path)
    capsys.readouterr()
    assert run(command, directory, archive) == 2
    told = capsys.readouterr().err
    assert f"{file} cannot be read (file is not a database)" in told
    assert tree(tmp_path) == before
    assert (directory / file).read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_cache_of_another_version_is_not_emptied(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with closing(sqlite3.connect(directory / "answers" / "cache.db")) as database:
        database.execute("PRAGMA user_version = 1")
        assert run(command, directory, tmp_path / "archive") == 2
        assert "is of another version (layout 1)" in capsys.readouterr().err
        assert database.execute("SELECT count(*) FROM Cache").fetchone() == (len(ALL),)


def test_damage_met_on_the_way_is_told_and_left_as_it_is(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = directory / "answers" / "cache.db"
    place = in_one_file(database)
    with database.open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5" * 4096)
    for command in READING[1:5]:  # those that look at it
        assert run(command, directory, tmp_path / "archive") == 2, command
        assert "the store cannot be used" in capsys.readouterr().err
    assert not list(directory.rglob("damaged-*"))
    assert not list(tmp_path.glob("archive*"))


def test_a_server_that_dies_on_the_way_leaves_no_archive(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    cache = open_cache(tmp_path / "cache", store=f"{redis_server.url}?socket_timeout=2")
    for asking in ALL:
        cache.store(asking, ANSWER)
    cache.close()
    assert main(["verify", redis_server.url]) == 0
    assert "3 sound" in capsys.readouterr().err
    assert main(["stats", redis_server.url]) == 0
    assert capsys.readouterr().out.split()[:2] == ["entries", "3"]
    inspect = ResponseCache.inspect

    def dies(cache: ResponseCache, name: str) -> object:
        redis_server.kill()
        return inspect(cache, name)

    monkeypatch.setattr(ResponseCache, "inspect", dies)
    assert main(["export", redis_server.url, str(tmp_path / "archive")]) == 2
    assert not list(tmp_path.glob("archive*"))
    assert "not all was done" in capsys.readouterr().err


def test_an_archive_that_is_none_makes_no_cache(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    before = tree(tmp_path)
    for archive in ("text", "nowhere"):
        assert main(["import", str(tmp_path / "new"), str(tmp_path / archive)]) == 2
    assert tree(tmp_path) == before


def test_an_archive_that_was_cut_off_says_what_was_taken(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, new = tmp_path / "archive", tmp_path / "new"
    assert main(["export", str(directory), str(archive)]) == 0
    lines = gzip.decompress(archive.read_bytes()).splitlines(keepends=True)
    archive.write_bytes(gzip.compress(b"".join(lines[:3])))
    assert main(["verify", str(archive)]) == 2
    capsys.readouterr()
    assert main(["import", str(new), str(archive)]) == 2
    told = capsys.readouterr().err
    assert "2 verified (2 kept), 0 refused" in told
    assert "cut short after 2 entries" in told
    assert len(kept(new)) == 2


def test_an_unfinished_answer_is_not_called_sound(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = open_cache(directory)
    name = name_of(OTHER)
    stored = cache.read(name)
    assert stored is not None
    entry = codec.load(stored.value)
    cut = replace(entry, answer=replace(entry.answer, finish_reason=FinishReason.CANCELLED))
    cache._store.put(name, stored._replace(value=codec.dump(cut)))
    elsewhere = f"{name_of(QUERY)}:7"
    there = cache.read(name_of(QUERY))
    assert there is not None
    cache._store.put(elsewhere, there)
    cache.close()
    assert main(["verify", str(directory)]) == 1
    told = capsys.readouterr().err
    assert f"refused {name}: not a finished answer (cancelled)" in told
    assert f"refused {elsewhere}: its name is not that of its key" in told
    assert "2 sound, 2 refused" in told


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(directory: Path, tmp_path: Path, sign: int) -> None:
    script = (
        "import runpy, signal, sys, time\n"
        "from cache_store.cache import ResponseCache\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests may ignore it
        "def wait(cache, name):\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "ResponseCache.inspect = wait\n"
        f"sys.argv = ['x', 'export', {str(directory)!r}, {str(tmp_path / 'archive')!r}]\n"
        "runpy.run_module('cache_store', run_name='__main__')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert list(tmp_path.glob("archive*"))
        process.send_signal(sign)
        error = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + sign
    assert b"Traceback" not in error
    assert not list(tmp_path.glob("archive*"))


@pytest.mark.parametrize(
    "command", [[], ["forget", "x"], ["forget", "x", "--all", "--model", "m"], ["burn"],
                ["forget", "x", "--older-than", "soon"], ["stale", "x"],
                ["stale", "x", "--model", "m", "--fingerprint", "short"]],
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


# --- stale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "fingerprint", "told"),
    [
        (OTHER.model, QUERY.fingerprint, "0 of 1 answers of other become stale"),
        (OTHER.model, "0" * 64, "1 of 1 answers of other become stale"),
        (QUERY.model, "0" * 64, f"2 of 2 answers of {QUERY.model} become stale"),
        ("unknown", "0" * 64, "0 of 0 answers of unknown become stale"),
    ],
)
def test_what_an_upgrade_would_leave_unused_is_counted_and_kept(
    directory: Path, capsys: pytest.CaptureFixture[str], model: str, fingerprint: str, told: str
) -> None:
    command = ["stale", str(directory), "--model", model, "--fingerprint", fingerprint]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{told}\n"
    assert kept(directory) == list(ALL)


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
