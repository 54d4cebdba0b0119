"""What an entry belongs to: the handles by which entries are found together and forgotten."""

from __future__ import annotations

from cache_store.types import CacheKey, CacheQuery, ImagePart


def image_tag(digest: str) -> str:
    """Entries whose conversation shows this picture, in whichever turn."""
    return f"image:{digest}"


def picture_of(tag: str) -> str | None:
    """The digest in an `image_tag`; None where it is another tag."""
    kind, _, digest = tag.partition(":")
    return digest if kind == "image" else None


def model_tag(model: str) -> str:
    """Entries of a model by its readable name, whatever its build."""
    return f"model:{model}"


def scope_tag(scope: str) -> str:
    """Entries that differ in their last question only (`CacheKey.scope`)."""
    return f"scope:{scope}"


def tags_of(query: CacheQuery, key: CacheKey) -> tuple[str, ...]:
    """Every tag of the entry that answers a query."""
    pictures = {p.digest: None for t in query.turns for p in t.parts if isinstance(p, ImagePart)}
    return (*map(image_tag, pictures), model_tag(query.model), scope_tag(key.scope))
