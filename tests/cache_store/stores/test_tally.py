"""A file whose length tells how often something was forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.stores.tally import Tally


def test_each_time_it_has_another_length_for_everybody(tmp_path: Path) -> None:
    one, other = Tally(tmp_path / "tally"), Tally(tmp_path / "tally")
    assert one.length() is None
    seen = []
    for tally in (one, other, one):
        tally.add()
        assert one.length() == other.length()
        seen.append(one.length())
    assert len(set(seen)) == 3


def test_another_file_has_another_length(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "tally")
    tally.add()
    before = tally.length()
    (tmp_path / "tally").rename(tmp_path / "aside")
    assert tally.length() is None
    tally.add()
    assert tally.length() not in (None, before)


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="tally"):
        Tally(tmp_path / "absent" / "tally").add()
