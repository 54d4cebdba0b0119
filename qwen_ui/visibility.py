"""Who is served whose answers: a salt in the key, made by the server and by nobody else.

The salt is part of the key's scope, so it parts stored answers, running ones and suggestions alike.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from qwen_ui.types import Visitor

log = logging.getLogger(__name__)

Kind = Literal["shared", "user", "session"]

_BYTES = 32


class Visibility:
    """Maps a visitor to the namespace of the answers that he may see."""

    def __init__(self, kind: Kind, secret: bytes) -> None:
        self._kind = kind
        self._secret = secret

    def namespace(self, visitor: Visitor) -> str:
        """Equal for those who share answers. A stranger's is new each time: he shares nothing."""
        if self._kind == "shared":
            return ""
        if self._kind == "user" and visitor.user is not None:
            return self._salt("user", visitor.user)
        if visitor.session is not None:
            return self._salt("session", visitor.session)
        return self._salt("stranger", secrets.token_hex(_BYTES))

    def _salt(self, kind: str, who: str) -> str:
        """Keyed, so that an entry does not tell whose it is, and nobody can guess another's."""
        said = f"{kind}:{who}".encode("utf-8", "surrogatepass")  # no kind has a colon
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()


def open_visibility(kind: Kind, directory: Path) -> Visibility:
    """With the secret of this cache directory, which is made where it is needed and missing.

    Raises OSError where it cannot be kept.
    """
    return Visibility(kind, b"" if kind == "shared" else _secret(directory / "secret"))


def _secret(path: Path) -> bytes:
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = _made(path)
    if len(found) < _BYTES:
        log.warning("%s is damaged: a new one is made, and what it parted is asked anew", path)
        path.unlink(missing_ok=True)
        found = _made(path)
    path.chmod(0o600)
    return found


def _made(path: Path) -> bytes:
    """A new secret, whole from the first moment, or that of another process that came first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
    return path.read_bytes()
