"""Who a model of another server is: what the server tells of it, and what is remembered of that.

The address is not part of it: a server that moves keeps its recorded answers, and replicas behind
several addresses share them. So two servers that tell the same of models of one name are taken for
the same model. Who serves another build (quantised, say) under the same name gives it another one
(`--served-model-name` of vLLM and SGLang, `--alias` of llama.cpp).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from qwen_ui.engines.trouble import Retry, Trouble, failed, of_response, of_transport
from qwen_ui.remote_errors import RemoteLacksModel, RemoteSlow

log = logging.getLogger(__name__)

Told = Mapping[str, str | int]

UNTOLD = "untold"
_FIELDS = ("owned_by", "root", "max_model_len")  # vLLM and SGLang; `created` is the time of asking
_META = ("n_params", "size", "n_ctx_train", "n_vocab")  # llama.cpp
_ANSWERS_TO_ANY_NAME = "llamacpp"  # with the model that it has
_PATIENCE_S = 5.0
_WRITING = threading.Lock()  # the models of a program share a file


def authorization(key: str | None) -> dict[str, str]:
    """The header that brings an API key, where there is one."""
    return {"Authorization": f"Bearer {key}"} if key else {}


async def ask_identity(client: httpx.AsyncClient, url: str, key: str | None, model: str) -> Told:
    """What `GET /models` tells of a model; empty where it tells nothing. Raises Trouble."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            response = await client.get(f"{url}/models", headers=authorization(key))
    except TimeoutError:
        slow = RemoteSlow(seconds=round(_PATIENCE_S))
        raise Trouble(slow, Retry.ELSEWHERE, down=True) from None
    except httpx.HTTPError as error:
        raise of_transport(error, model) from error
    if response.status_code in (404, 405, 501):
        return {}
    if response.status_code != 200:
        raise of_response(response, model)
    try:
        models = response.json()["data"]
        listed = {entry["id"]: entry for entry in models}
        for entry in models:  # llama.cpp: `--alias a,b`
            listed |= dict.fromkeys(entry.get("aliases") or (), entry)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise failed("its list of models cannot be read") from None
    if model not in listed:
        _warn(url, model, ", ".join(map(str, listed)) or "none")
        if any(entry.get("owned_by") == _ANSWERS_TO_ANY_NAME for entry in models):
            raise Trouble(RemoteLacksModel(model=model), Retry.ELSEWHERE, down=True)
        return {}
    return _told(listed[model])


def revision_of(told: Told) -> str:
    """What identifies the model, beside its name."""
    return json.dumps(dict(told), sort_keys=True) if told else UNTOLD


def may_answer_for(revision: str, told: Told) -> bool:
    """Whether a server that tells this may give answers that are recorded under `revision`."""
    return revision in (UNTOLD, revision_of(told))


class Remembered:
    """What servers told, in a small file: so that answers are served while a server is down."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, url: str, model: str) -> Told | None:
        known = self._read().get(f"{url}#{model}")
        return known if isinstance(known, dict) else None

    def put(self, url: str, model: str, told: Told) -> None:
        with _WRITING:
            known = self._read()
            if known.get(f"{url}#{model}") == told:
                return
            known[f"{url}#{model}"] = told
            try:
                self._write(json.dumps(known, indent=1))
            except OSError as error:
                log.warning("what %s is will not be remembered: %s", model, error)

    def _write(self, text: str) -> None:
        """As a whole or not at all, whoever else writes."""
        folder = self._file.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{self._file.name}-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            Path(name).replace(self._file)
        except OSError:
            Path(name).unlink()
            raise

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


@lru_cache(maxsize=64)  # once for each list, not at every look
def _warn(url: str, model: str, names: str) -> None:
    log.warning("%s does not list %s among its models (%s)", url, model, names)


def _told(entry: dict[str, Any]) -> Told:
    # a router of llama.cpp tells `status`, and `meta` only while the model is loaded
    meta = None if "status" in entry else entry.get("meta")
    fields = {name: entry.get(name) for name in _FIELDS}
    fields |= {name: meta.get(name) for name in _META} if isinstance(meta, dict) else {}
    return {name: value for name, value in fields.items() if isinstance(value, str | int)}
