"""How diskcache writes keys and values, held to text and bytes, so that nothing is unpickled.

Upstream unpickles rows that say they are pickles (CVE-2025-69872); whoever can write the database
could run code. Such rows are refused here, as keys and as values. It also reads and removes
whichever file a row names: here only those that are named as upstream names them, and that lie in
the store's own directory.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from cache_store.errors import CorruptEntry

_OURS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not be waited for


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys are str, values are bytes; everything else is refused, on the way in and out."""

    def put(self, key: Any) -> tuple[Any, bool]:
        if type(key) is not str:
            raise TypeError("keys are str")
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        if not raw or type(key) is not str:
            raise CorruptEntry("a pickled key was refused")
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes:
            raise TypeError("values are bytes")
        return super().store(value, False, key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Raises CorruptEntry, and FileNotFoundError where the row was deleted meanwhile."""
        if mode not in (MODE_RAW, MODE_BINARY):
            raise CorruptEntry("a pickled value was refused")
        fetched = self._contents(filename) if mode == MODE_BINARY else value
        if type(fetched) is not bytes:
            raise CorruptEntry("a value that is not bytes was refused")
        return fetched

    def remove(self, file_path: Any) -> None:
        """Does nothing about a file that is not a value's."""
        if self._path(file_path) is not None:
            super().remove(file_path)

    def _contents(self, filename: object) -> bytes:
        path = self._path(filename)
        if path is None:
            raise CorruptEntry("a file that is not ours was refused")
        try:
            handle = os.open(path, _READ_ONLY)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CorruptEntry(f"the file of a value: {error}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise CorruptEntry("the file of a value is none")
        with open(handle, "rb") as file:  # noqa: PTH123
            return file.read()

    def _path(self, filename: object) -> str | None:
        """Where the file of a value is; None where it is not named as such, or lies elsewhere
        because a folder on the way is a link."""
        if type(filename) is not str or not _OURS.fullmatch(filename):
            return None
        path = os.path.join(os.path.realpath(self._directory), filename)  # noqa: PTH118
        folder = os.path.dirname(path)  # noqa: PTH120
        return path if os.path.realpath(folder) == folder else None

    def _write(self, full_path: str, iterator: Any, mode: str, encoding: str | None = None) -> Any:
        if self._path(os.path.relpath(full_path, self._directory)) is None:
            raise OSError(f"{full_path} lies outside of the store")
        try:
            return super()._write(full_path, iterator, mode, encoding)
        except OSError:
            with suppress(OSError):
                Path(full_path).unlink()  # the part that a full disk took, which nobody would count
            raise
