"""Models of other servers by name: `openai:URL#MODEL`, or `openai:URL|URL#MODEL` for replicas."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import PIL

from qwen_ui.engines.base import Engine, EngineSpec, Sampling
from qwen_ui.engines.identity import PUBLISHED_THINKING
from qwen_ui.engines.openai import OpenAIEngine
from qwen_ui.engines.openai_exchange import CONNECT_S, Patience
from qwen_ui.engines.openai_wire import WIRE
from qwen_ui.engines.registry import Progress
from qwen_ui.engines.remote_identity import Remembered, Told, ask_identity, revision_of
from qwen_ui.engines.trouble import Trouble
from qwen_ui.errors import ModelFailed
from qwen_ui.settings import Settings

PREFIX = "openai:"


def remote_source(spelled: str, settings: Settings) -> RemoteSource:
    """The model that a name means. Raises errors.ModelFailed when it means none."""
    addresses, _, model = spelled.removeprefix(PREFIX).partition("#")
    urls = tuple(url.strip().rstrip("/") for url in addresses.split("|"))
    if not model or not all(map(_is_address, urls)):
        example = f"{PREFIX}http://127.0.0.1:8000/v1#Qwen/Qwen3-VL-4B-Instruct"
        raise ModelFailed(spelled, f"write it as {example} (several servers: URL|URL#MODEL)")
    return RemoteSource(model, urls, settings)


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A model that one or several other servers have. Loading it asks nothing of them.

    Its name has no address, since names are in keys and pages: a server may move.
    """

    model: str
    urls: tuple[str, ...]
    settings: Settings

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.model}"

    @property
    def keys(self) -> dict[str, str | None]:
        """The API key of each address. Raises errors.ModelFailed."""
        known = read_keys(self.settings.remote_keys.get_secret_value())
        return {url: known.get(urlsplit(url).netloc) for url in self.urls}

    def resolve(self) -> EngineSpec:
        """From the first server that answers; from memory where none does."""
        remembered = Remembered(self.settings.directory / "remote.json")
        try:
            url, told = asyncio.run(self._ask())
            remembered.put(url, self.model, told)
        except Trouble as trouble:
            known = [remembered.get(url, self.model) for url in self.urls]
            found = next((told for told in known if told is not None), None)
            if found is None:
                raise ModelFailed(self.name, str(trouble)) from trouble
            told = found
        return self._spec(told)

    def load(self, spec: EngineSpec, progress: Progress) -> Engine:
        patience = Patience(first_token_s=self.settings.remote_timeout_s)
        return OpenAIEngine(spec, self.keys, self.settings.max_queue, patience)

    async def _ask(self) -> tuple[str, Told]:
        """The first address that answers, and what it tells. Raises the first one's Trouble."""
        async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S)) as client:
            asked = [ask_identity(client, url, key, self.model) for url, key in self.keys.items()]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        for url, answer in zip(self.urls, answers, strict=True):
            if not isinstance(answer, BaseException):
                return url, answer
        raise next(answer for answer in answers if isinstance(answer, BaseException))

    def _spec(self, told: Told) -> EngineSpec:
        thinking = "thinking" in self.model.lower()
        return EngineSpec(
            engine="openai",
            model=self.model,
            source=" ".join(self.urls),
            revision=revision_of(told),
            dtype="",
            attention="",
            device="remote",
            kernels="",
            inputs=WIRE,
            min_pixels=1,
            max_pixels=self.settings.max_pixels,
            context_tokens=_whole(told.get("max_model_len")),
            versions=(f"pillow {PIL.__version__}",),
            thinking=thinking,
            remote=True,
            sampling=PUBLISHED_THINKING if thinking else Sampling(),
        )


def _whole(told: object) -> int:
    """A number that a server tells; 0 where it tells none."""
    return told if isinstance(told, int) else 0


def read_keys(spelled: str) -> dict[str, str]:
    """Keys by host, from `HOST=KEY,HOST=KEY`: a key goes to no server but its own.

    Raises errors.ModelFailed, which does not repeat what was given.
    """
    keys = {}
    for pair in filter(None, spelled.split(",")):
        host, _, key = pair.strip().partition("=")
        if not host or not key:
            raise ModelFailed("openai:", "write QWEN_UI_REMOTE_KEYS as HOST=KEY,HOST:PORT=KEY")
        keys[host] = key
    return keys


def _is_address(url: str) -> bool:
    """http or https, and nothing that should not be read in a log."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and not parts.query
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False
