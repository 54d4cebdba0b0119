"""How diskcache writes keys and values, held to text and bytes, so that nothing is unpickled.

Upstream unpickles rows that say they are pickles (CVE-2025-69872); whoever can write the file
could run code. Such rows are refused here, as keys and as values.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from cache_store.errors import CorruptEntry


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
        if mode not in (MODE_RAW, MODE_BINARY):
            raise CorruptEntry("a pickled value was refused")
        fetched = super().fetch(mode, filename, value, False)
        if type(fetched) is not bytes:
            raise CorruptEntry("a value that is not bytes was refused")
        return fetched

    def _write(self, full_path: str, iterator: Any, mode: str, encoding: str | None = None) -> Any:
        try:
            return super()._write(full_path, iterator, mode, encoding)
        except OSError:
            with suppress(OSError):
                Path(full_path).unlink()  # the part that a full disk took, which nobody would count
            raise
