"""Entries as one file: gzip over lines of JSON, so `zcat` reads it.

    {"format": "cache_store pack", "version": 1, "keys": KEY_VERSION}
    {"sha256": "...", "entry": "base64 of the stored bytes"}        one line per entry, by name
    {"entries": N, "sha256": "over the entries' digests, in order"}

The same entries give the same bytes. Nothing in it is a path or a name: where an entry belongs,
and what it is tagged with, is made anew from its key material when it is imported. Checksums tell
damage, not lies: import from where you would also take answers.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from cache_store.cache import ResponseCache
from cache_store.errors import BadPack, CorruptEntry
from cache_store.keys import VERSION as KEY_VERSION
from cache_store.keys import make_key
from cache_store.material import query_of, version_of
from cache_store.shelf import load_finished, places
from cache_store.tags import tags_of
from cache_store.types import Adopted, CacheEntry

FORMAT, VERSION = "cache_store pack", 1
_LONGEST_LINE = 96 * 2**20  # bytes; the largest entry in base64, and some
_BROKEN = (OSError, EOFError, zlib.error)

Refuse = Callable[[str, str], None]  # (which entry, why)


@dataclass(slots=True)
class Tally:
    """What became of the entries."""

    good: int = 0
    refused: int = 0
    adopted: dict[Adopted, int] = field(default_factory=dict)


class Packed(NamedTuple):
    """A line of an archive: its entry, or why there is none."""

    line: int
    entry: CacheEntry | None
    why: str = ""


def export_pack(
    cache: ResponseCache, file: IO[bytes], names: Iterator[str], refuse: Refuse
) -> Tally:
    """Write the entries of these names. What is damaged is left out and told to `refuse`."""
    tally, digests = Tally(), hashlib.sha256()
    with gzip.GzipFile("", "wb", 6, file, mtime=0) as archive:
        archive.write(_line(format=FORMAT, version=VERSION, keys=KEY_VERSION))
        for name in names:
            try:
                found = cache.inspect(name)
            except CorruptEntry as error:
                tally.refused += 1
                refuse(name, str(error))
                continue
            if found is None:
                continue  # it ended, or was forgotten meanwhile
            value = found[0].value
            digest = hashlib.sha256(value).hexdigest()
            archive.write(_line(sha256=digest, entry=b64encode(value).decode()))
            digests.update(digest.encode())
            tally.good += 1
        archive.write(_line(entries=tally.good, sha256=digests.hexdigest()))
    return tally


def read_pack(file: IO[bytes]) -> Iterator[Packed]:
    """The entries of an archive, each checked. Bounded memory.

    Raises BadPack at once where it is no archive, and at the end where it was cut short or changed.
    """
    lines = _lines(file)
    _check_head(next(lines, b""))
    return _entries(lines)


def _entries(lines: Iterator[bytes]) -> Iterator[Packed]:
    digests, count = hashlib.sha256(), 0
    for number, line in enumerate(lines, 2):
        fields = _fields(line)
        if fields is not None and "entries" in fields:
            if fields != {"entries": count, "sha256": digests.hexdigest()}:
                raise BadPack(f"line {number}: entries are missing or were changed")
            if next(lines, None) is not None:
                raise BadPack(f"line {number}: something follows the end")
            return
        count += 1
        if fields is not None:
            digests.update(str(fields.get("sha256")).encode())
        yield _packed(number, fields)
    raise BadPack(f"cut short after {count} entries: the end is missing")


def import_pack(cache: ResponseCache, file: IO[bytes], refuse: Refuse) -> Tally:
    """Adopt what verifies; tell `refuse` of everything else. Raises BadPack as `read_pack` does,
    then what came before it is kept, and StoreUnavailable."""
    tally = Tally()
    adopt_all(cache, read_pack(file), refuse, tally)
    return tally


def adopt_all(
    cache: ResponseCache, entries: Iterator[Packed], refuse: Refuse, tally: Tally
) -> None:
    """The same of an archive that is being read; `tally` says how far it came."""
    for packed in entries:
        try:
            if packed.entry is None:
                raise CorruptEntry(packed.why)
            became = cache.adopt(packed.entry)
        except CorruptEntry as error:
            tally.refused += 1
            refuse(f"line {packed.line}", str(error))
        else:
            tally.good += 1
            tally.adopted[became] = tally.adopted.get(became, 0) + 1


def verify_pack(file: IO[bytes], refuse: Refuse) -> Tally:
    """Check every entry of an archive and the whole. Raises BadPack."""
    tally = Tally()
    for packed in read_pack(file):
        if packed.entry is None:
            tally.refused += 1
            refuse(f"line {packed.line}", packed.why)
        else:
            tally.good += 1
    return tally


def verify_cache(cache: ResponseCache, names: Iterator[str], refuse: Refuse) -> Tally:
    """Check every entry of a cache: checksum, key material, name, tags. Changes nothing."""
    tally = Tally()
    for name in names:
        try:
            found = cache.inspect(name)
            if found is None:
                continue
            stored, entry = found
            query = query_of(_current(entry))
            if set(stored.tags) != set(tags_of(query, make_key(query)[0])):
                raise CorruptEntry("its tags are not those of its key")
            if name not in places(query, entry):
                raise CorruptEntry("its name is not that of its key: it is never found")
        except CorruptEntry as error:
            tally.refused += 1
            refuse(name, str(error))
        else:
            tally.good += 1
    return tally


def _current(entry: CacheEntry) -> CacheEntry:
    version = version_of(entry.material)
    if version != KEY_VERSION:
        raise CorruptEntry(f"made under key version {version or '?'}, which nothing asks for now")
    return entry


def _packed(number: int, fields: dict[str, Any] | None) -> Packed:
    try:
        if fields is None or set(fields) != {"sha256", "entry"}:
            raise CorruptEntry("not an entry")
        value = b64decode(fields["entry"], validate=True)
        if hashlib.sha256(value).hexdigest() != fields["sha256"]:
            raise CorruptEntry("its bytes are not those of its SHA-256")
        entry = _current(load_finished(value))
        query_of(entry)
    except (CorruptEntry, ValueError, TypeError) as error:
        return Packed(number, None, str(error))
    return Packed(number, entry)


def _check_head(line: bytes) -> None:
    head = _fields(line)
    if head is None or head.get("format") != FORMAT:
        raise BadPack("this is no archive of cache_store: give a file that `export` wrote")
    if head.get("version") != VERSION:
        raise BadPack(
            f"the archive has version {head.get('version')}, and {VERSION} is read here:"
            " export it again with this version"
        )


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as archive:
            while line := archive.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise BadPack("a line is longer than any entry")
                yield line
    except gzip.BadGzipFile as error:
        raise BadPack(f"this is no archive of cache_store, or it is damaged ({error})") from error
    except _BROKEN as error:
        raise BadPack(f"cut short or damaged ({error})") from error


def _fields(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _line(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
