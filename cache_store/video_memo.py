"""Which frames were taken from which video: a repeated upload is not decoded again.

Like `memo`, for files of many pictures. Bounded, in memory and on disk.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from cache_store.database import Database
from cache_store.recent import Recent

_IN_MEMORY = 256
_ON_DISK = 20_000  # about 40 MB with 16 frames each
_PRUNE_EVERY = 100  # writes
_LARGEST_S = 2.0**50


@dataclass(frozen=True, slots=True)
class RememberedFrame:
    """When it is shown, and its canonical picture."""

    at_s: float
    digest: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RememberedVideo:
    """How long the whole file is, the part and the step that frames were taken from, and them."""

    length_s: float
    start_s: float
    end_s: float
    every_s: float
    frames: tuple[RememberedFrame, ...]


class VideoMemo:
    """Thread-safe; survives restarts where `database` does.

    A key says everything that decides the frames: the bytes of the file, how they were sampled,
    and by which decoders. A row is written a little later (`Database.write_later`): lost, it costs
    one decode.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: Recent[RememberedVideo] = Recent(_IN_MEMORY)
        self._writes = 0

    def get(self, key: str) -> RememberedVideo | None:
        known = self._recent.get(key)
        if known is not None:
            return known
        rows = self._database.read("SELECT frames FROM videos WHERE key = ?", (key,))
        if not rows:
            return None
        try:
            found = _read(rows[0][0])
        except (TypeError, ValueError, RecursionError):  # damaged: it is looked at anew
            return None
        self._recent.put(key, found)
        return found

    def put(self, key: str, video: RememberedVideo) -> None:
        self._recent.put(key, video)
        row = (key, _written(video), int(time.time()))
        self._database.write_later("INSERT OR REPLACE INTO videos VALUES (?, ?, ?)", row)
        self._writes += 1
        if self._writes % _PRUNE_EVERY == 0:
            self.prune(_ON_DISK)

    def clear(self) -> None:
        """Remember no file."""
        self.clear_memory()
        self._database.write([("DELETE FROM videos", [()])])

    def clear_memory(self) -> None:
        """Read again what another process may have cleared."""
        self._recent.clear()

    def prune(self, keep: int) -> None:
        """Leave the `keep` newest on disk."""
        oldest = (
            "DELETE FROM videos WHERE key IN (SELECT key FROM videos ORDER BY used_at LIMIT"
            " max(0, (SELECT count(*) FROM videos) - ?))"
        )
        self._database.write([(oldest, [(keep,)])])


def _written(video: RememberedVideo) -> str:
    frames = [[f.at_s, f.digest, f.width, f.height] for f in video.frames]
    return json.dumps([video.length_s, video.start_s, video.end_s, video.every_s, frames])


def _read(text: str) -> RememberedVideo:
    length_s, start_s, end_s, every_s, frames = json.loads(text)
    kept = tuple(RememberedFrame(*frame) for frame in frames)
    times = (length_s, start_s, end_s, every_s, *(frame.at_s for frame in kept))
    if not all(type(s) in (int, float) and abs(s) <= _LARGEST_S for s in times):
        raise ValueError("a time is no number")
    if not all(map(_is_picture, kept)):
        raise ValueError("a picture is none")
    return RememberedVideo(length_s, start_s, end_s, every_s, kept)


def _is_picture(frame: RememberedFrame) -> bool:
    return [type(v) for v in (frame.digest, frame.width, frame.height)] == [str, int, int]
