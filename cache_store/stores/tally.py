"""How often something was forgotten or replaced, as the length of a file: one look at the
directory tells.

The generation of a disk store lies in its database. To ask there at each hit in memory would cost
more than the rest of the hit, so it is asked for when this file has grown. The file only grows, by
a byte each time: no two states of it look alike.
"""

from __future__ import annotations

import os
from pathlib import Path

Length = tuple[int, int]  # which file it is, and its bytes


class Tally:
    """Shared by processes. One that is killed before it adds tells nobody: ask now and then."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def add(self) -> None:
        """Raises OSError when it could not be written: then others do not know."""
        with open(self._path, "ab") as file:  # noqa: PTH123
            file.write(b".")

    def length(self) -> Length | None:
        """None where there is no such file."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a Path takes half as long again
        except OSError:
            return None
        return found.st_ino, found.st_size
