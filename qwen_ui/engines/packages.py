"""Which optional packages are here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str | None:
    """Its version; None: it is not here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
