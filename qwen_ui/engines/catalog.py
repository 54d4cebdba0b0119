"""Which models the picker offers, and where each one's files come from."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from tqdm.auto import tqdm

from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.base import Engine, EngineSpec
from qwen_ui.engines.family import full_name
from qwen_ui.engines.identity import Placement, resolve_spec, weights_digest
from qwen_ui.engines.loader import Progress, load_engine
from qwen_ui.engines.registry import ModelSource
from qwen_ui.engines.remote import PREFIX, remote_source
from qwen_ui.engines.transformers import Budgets
from qwen_ui.errors import ModelFailed
from qwen_ui.settings import Settings

log = logging.getLogger(__name__)

PREFERRED = "Qwen/Qwen3-VL-4B-Instruct"

_SMALL_FILES = ("*.json", "*.jinja", "*.txt")
_WEIGHTS = "*.safetensors"
_HUB_TIMEOUT_S = 10.0
_DOWNLOAD = 0.8  # its share of the progress; the rest is loading


def model_sources(settings: Settings) -> list[ModelSource]:
    """The models of these settings, the default first; the demo models are always offered.

    Raises errors.ModelFailed for a remote name that is none, and where two have one name.
    """
    names = [choose_default(settings), *settings.models.split(","), *VARIANTS]
    wanted = dict.fromkeys(_full_name(name) for name in names if name.strip())
    sources = [_source(name, settings) for name in wanted]
    for name, count in Counter(source.name for source in sources).items():
        if count > 1:
            raise ModelFailed(name, "--model and --models name two of this name; take one of them")
    return sources


def choose_default(settings: Settings) -> str:
    """What `--model auto` means on this machine; says why."""
    if settings.model != "auto":
        return _full_name(settings.model)
    if not torch.cuda.is_available():
        log.info("model: demo, since there is no CUDA device (--model %s: a real one)", PREFERRED)
    elif (problem := _unreachable(PREFERRED)) is not None:
        log.info("model: demo, since %s is out of reach: %s", PREFERRED, problem)
    else:
        log.info("model: %s, since there is a CUDA device", PREFERRED)
        return PREFERRED
    return next(iter(VARIANTS))


def _full_name(name: str) -> str:
    """A folder is called as it is, even where it has the short name of a published model."""
    name = name.strip()
    return name if Path(name).expanduser().is_dir() else full_name(name)


def _source(name: str, settings: Settings) -> ModelSource:
    if name.startswith(PREFIX):
        return remote_source(name, settings)
    placement = Placement(
        settings.device,
        settings.dtype,
        settings.attention,
        settings.min_pixels,
        settings.max_pixels,
        settings.quantization,
        settings.decoding,
        settings.video_input,
    )
    if name in VARIANTS:
        # it was trained on small pictures and on no video: what is set for big models does not fit
        small = Placement(
            settings.device, settings.dtype, settings.attention, decoding=settings.decoding
        )
        return FolderSource(name, VARIANTS[name], small, settings, demo=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return FolderSource(folder.resolve().name, folder, placement, settings)
    revision = settings.revision if name == _full_name(settings.model) else None
    return HubSource(name, revision, placement, settings)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A model in a local folder; its revision is a digest over the weights."""

    name: str
    folder: Path
    placement: Placement
    settings: Settings
    demo: bool = False

    def resolve(self) -> EngineSpec:
        if not any(self.folder.glob(_WEIGHTS)):
            raise ModelFailed(self.name, f"there are no {_WEIGHTS} files in {self.folder}")
        revision = weights_digest(self.folder, self.settings.directory / "weights.json")
        return resolve_spec(
            self.name,
            self.folder,
            revision,
            self.placement,
            source=str(self.folder),
            demo=self.demo,
        )

    def load(self, spec: EngineSpec, progress: Progress) -> Engine:
        if self.resolve().fingerprint() != spec.fingerprint():
            raise ModelFailed(
                self.name, f"{self.folder} has changed since this program started; start it again"
            )
        budgets = _budgets(self.settings)
        return load_engine(spec, self.folder, progress, self.settings.max_queue, budgets)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model of the Hugging Face hub, or of its local cache where the hub cannot be reached."""

    name: str
    revision: str | None
    placement: Placement
    settings: Settings

    def resolve(self) -> EngineSpec:
        try:
            folder = Path(self._download(_SMALL_FILES))
        except Exception as error:  # the hub client raises a family of its own and of httpx
            raise ModelFailed(self.name, _hub_reason(self.name, error)) from error
        # a snapshot's folder is named after its commit
        return resolve_spec(self.name, folder, folder.name, self.placement, source=self.name)

    def load(self, spec: EngineSpec, progress: Progress) -> Engine:
        fetched = partial(_share, progress, 0.0, _DOWNLOAD)
        try:
            folder = Path(self._download((*_SMALL_FILES, _WEIGHTS), spec.revision, fetched))
        except Exception as error:  # as above
            raise ModelFailed(self.name, _hub_reason(self.name, error)) from error
        read = partial(_share, progress, _DOWNLOAD, 1.0)
        budgets = _budgets(self.settings)
        return load_engine(spec, folder, read, self.settings.max_queue, budgets)

    def _download(
        self,
        patterns: tuple[str, ...],
        revision: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        return huggingface_hub.snapshot_download(
            self.name,
            revision=revision or self.revision,
            allow_patterns=list(patterns),
            tqdm_class=_download_bar(progress) if progress else None,
        )


def _share(progress: Progress, start: float, end: float, fraction: float) -> None:
    """Tell a step's progress as that of the whole."""
    progress(start + fraction * (end - start))


def _budgets(settings: Settings) -> Budgets:
    return Budgets(
        features=settings.feature_max_bytes,
        prefixes=settings.prefix_max_bytes,
        device_prefixes=settings.prefix_device_max_bytes,
    )


def _download_bar(progress: Progress) -> type[tqdm]:
    """The hub's progress bar, heard by the page as well."""

    class Bar(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            updated: bool | None = super().update(n)
            if self.total and self.unit == "B":
                progress(min(0.99, self.n / self.total))
            return updated

    return Bar


def _unreachable(model: str) -> str | None:
    """Why neither the hub nor its local cache has the model; None when one has."""
    try:
        huggingface_hub.HfApi().model_info(model, timeout=_HUB_TIMEOUT_S)
    except Exception as online:  # noqa: BLE001 - offline in one of many ways
        try:
            huggingface_hub.snapshot_download(
                model, allow_patterns=[*_SMALL_FILES, _WEIGHTS], local_files_only=True
            )
        except Exception:  # noqa: BLE001 - the reason that counts is the first
            return _hub_reason(model, online)
    return None


def _hub_reason(name: str, error: Exception) -> str:
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        return f"the hub has no public model {name}; check the spelling, or set HF_TOKEN"
    if isinstance(error, LocalEntryNotFoundError) or "onnect" in str(error):
        return "the hub cannot be reached and the model is not in its local cache"
    return f"{type(error).__name__}: {error}".splitlines()[0]
