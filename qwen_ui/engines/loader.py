"""Loads what an EngineSpec says: the same path for the demo model and for the real ones."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from tqdm.auto import tqdm
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

from qwen_ui.engines.base import Completion, EngineSpec, GenerationRequest, Priority, Sampling
from qwen_ui.engines.decoding import TRITON
from qwen_ui.engines.processor import load_processor
from qwen_ui.engines.quantization import UNPACKED, quantization_options
from qwen_ui.engines.transformers import Budgets, TransformersEngine
from qwen_ui.engines.video_input import NATIVE, load_video_input
from qwen_ui.errors import ModelFailed
from qwen_ui.types import Image, Message

log = logging.getLogger(__name__)

Progress = Callable[[float], None]

_one_load = threading.Lock()  # loading flips torch's process-wide default dtype meanwhile


def load_engine(
    spec: EngineSpec,
    folder: Path,
    progress: Progress,
    max_queue: int = 32,
    budgets: Budgets = Budgets(),
) -> TransformersEngine:
    """Load, check, warm up. `progress` hears fractions from 0 to 1. Raises errors.ModelFailed."""
    with _one_load:
        processor = load_processor(folder, min_pixels=spec.min_pixels, max_pixels=spec.max_pixels)
        video = None
        if spec.video == NATIVE:
            video = load_video_input(spec.model, folder, processor)
        with _told(spec), _reporting(progress):
            model = _load_model(spec, folder)
    _check_placement(spec, model)
    with _told(spec):  # it joins matrices
        engine = TransformersEngine(spec, model, processor, max_queue, budgets, video)
    del model
    _warm_up(engine)
    engine.forget()  # the grey square
    progress(1.0)
    return engine


def _load_model(spec: EngineSpec, folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    model = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=getattr(torch, spec.dtype),
        attn_implementation=spec.attention,
        device_map="auto" if spec.device == "cuda" else {"": spec.device},
        use_safetensors=True,
        local_files_only=True,
        **quantization_options(spec.quantization, config),
    )
    if spec.quantization == UNPACKED:  # of a quantized model transformers keeps types as saved
        for parameter in model.parameters():
            parameter.data = parameter.data.to(getattr(torch, spec.dtype))
    return model.eval()


@contextmanager
def _told(spec: EngineSpec) -> Iterator[None]:
    """Raises errors.ModelFailed for whatever loading raises."""
    try:
        yield
    except ModelFailed:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelFailed(
            spec.model, "it does not fit into the GPU's memory; choose a smaller one"
        ) from error
    except Exception as error:  # a foreign loader over foreign files raises nearly everything
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelFailed(spec.model, reason) from error


def _check_placement(spec: EngineSpec, model: Any) -> None:
    """A layer that accelerate left outside the GPU computes elsewhere than the spec says."""
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if spec.device.startswith("cuda") and places & {"cpu", "disk"}:
        raise ModelFailed(
            spec.model,
            "it does not fit into the GPU's memory; choose a smaller one, or --device cpu",
        )


def _warm_up(engine: TransformersEngine) -> None:
    """One short answer about a grey square: pages are read and kernels built before "ready"."""
    square = Image("warm-up", 64, 64, lambda: PILImage.new("RGB", (64, 64), "gray"))
    request = GenerationRequest((Message("user", (square, "Hi")),), Sampling(), max_tokens=2)
    ended = threading.Event()
    outcome: list[object] = []

    def hear(event: object) -> None:
        outcome.append(event)
        if hasattr(event, "error") or isinstance(event, Completion):
            ended.set()

    engine.submit(request, hear, priority=Priority.PREPARE)  # no measure of how long answers take
    ended.wait()
    if not isinstance(outcome[-1], Completion):
        engine.close()
        reason = str(getattr(outcome[-1], "error", "no answer"))
        if engine.spec.decoding.startswith(TRITON):
            reason += " (--decoding graph does without our own kernels)"
        raise ModelFailed(engine.spec.model, reason)


@contextmanager
def _reporting(progress: Progress) -> Iterator[None]:
    """Let transformers' own progress bar of the weights report here too."""

    class Bar(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            updated: bool | None = super().update(n)
            if self.total:
                progress(min(0.99, self.n / self.total))
            return updated

    transformers_logging.set_tqdm_hook(lambda _factory, args, kwargs: Bar(*args, **kwargs))
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(None)
