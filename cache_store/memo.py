"""Which file has which pixels: a repeated upload is not decoded again.

SHA-256 of the uploaded bytes, under one version of the canonical form and of the decoders, leads
to the digest of the pixels. Bounded, in memory and on disk.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from cache_store.database import Database
from cache_store.images import DECODERS
from cache_store.recent import Recent

_IN_MEMORY = 4096
_ON_DISK = 200_000  # about 40 MB
_PRUNE_EVERY = 1000  # writes


class Remembered(NamedTuple):
    """The canonical picture of a file: its digest, its upright size, the frames of the file."""

    digest: str
    width: int
    height: int
    frames: int


class DigestMemo:
    """Thread-safe; survives restarts where `database` does.

    A file's row is written a little later (`Database.write_later`): lost, it costs one decode.
    """

    def __init__(self, database: Database, decoders: str = DECODERS) -> None:
        self._database = database
        self._decoders = decoders
        self._recent: Recent[Remembered] = Recent(_IN_MEMORY)
        self._writes = 0

    def get(self, file_sha256: str) -> Remembered | None:
        known = self._recent.get(file_sha256)
        if known is not None:
            return known
        rows = self._database.read(
            "SELECT digest, width, height, frames FROM digests WHERE file = ? AND decoders = ?",
            (file_sha256, self._decoders),
        )
        if not rows or [type(value) for value in rows[0]] != [str, int, int, int]:
            return None
        found = Remembered(*rows[0])
        self._recent.put(file_sha256, found)
        return found

    def put(self, file_sha256: str, picture: Remembered) -> None:
        self._recent.put(file_sha256, picture)
        self._database.write_later(
            "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)",
            (file_sha256, self._decoders, *picture, int(time.time())),
        )
        self._writes += 1
        if self._writes % _PRUNE_EVERY == 0:
            self.prune(_ON_DISK)

    def forget(self, file_sha256: str) -> None:
        """What was remembered of a file was wrong."""
        self._recent.pop(file_sha256)
        self._database.write([("DELETE FROM digests WHERE file = ?", [(file_sha256,)])])

    def forget_picture(self, digest: str) -> None:
        """Forget every file that has these pixels."""
        self._recent.remove(lambda known: known.digest == digest)
        self._database.write([("DELETE FROM digests WHERE digest = ?", [(digest,)])])

    def clear(self) -> None:
        """Remember no file."""
        self.clear_memory()
        self._database.write([("DELETE FROM digests", [()])])

    def clear_memory(self) -> None:
        """Read again what another process may have cleared."""
        self._recent.clear()

    def prune(self, keep: int) -> None:
        """Leave the `keep` newest on disk."""
        oldest = (
            "DELETE FROM digests WHERE file IN (SELECT file FROM digests ORDER BY used_at LIMIT"
            " max(0, (SELECT count(*) FROM digests) - ?))"
        )
        self._database.write([(oldest, [(keep,)])])
