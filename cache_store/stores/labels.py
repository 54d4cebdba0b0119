"""What a row of the disk store says of its value: [cost in seconds, tag, tag, ...] in JSON, in the
one column that diskcache has for a tag.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cache_store.errors import CorruptEntry

_LARGEST_S = 2.0**50


class Label(NamedTuple):
    """What a row's tag column says."""

    cost_s: float
    tags: tuple[str, ...]


def dump_label(label: Label) -> str:
    return json.dumps([label.cost_s, *label.tags])


def load_label(label: Any) -> Label:
    """Raises CorruptEntry for a label that `dump_label` did not write."""
    try:
        cost_s, *tags = json.loads(label)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptEntry(f"a row's label is not ours: {error}") from error
    if type(cost_s) not in (int, float) or not abs(cost_s) <= _LARGEST_S:
        raise CorruptEntry("a row's label is not ours: its cost is no number of seconds")
    if not all(type(tag) is str for tag in tags):
        raise CorruptEntry("a row's label is not ours: a tag is no text")
    return Label(float(cost_s), tuple(tags))


def label_tags(label: Any) -> tuple[str, ...]:
    """The tags of a row; none when its label is not ours."""
    try:
        return load_label(label).tags
    except CorruptEntry:
        return ()
