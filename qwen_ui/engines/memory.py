"""Whether a model fits: what its weights take, and what a device has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from qwen_ui.engines.base import EngineSpec
from qwen_ui.engines.family import published
from qwen_ui.engines.quantization import NONE, UNPACKED, computes_in_fp8
from qwen_ui.errors import ModelFailed

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WORKING = 512 * 2**20  # beside the weights: activations and one conversation's KV cache


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a device, in bytes: `free` now, and the `most` there is once all our models are gone."""

    free: int
    most: int

    def holds(self, weights: int) -> bool:
        """Whether a model of these weights can be loaded beside what is there, and work."""
        return weights + weights // 10 + _WORKING <= self.free


def look(device: str) -> Memory | None:
    """None where it cannot be told."""
    if device == "cpu":
        return _host(_read("/proc/meminfo"), _read("/proc/self/status"))
    return _gpus(device) if device.startswith("cuda") else None


def check_fits(spec: EngineSpec, memory: Memory | None) -> None:
    """Raises errors.ModelFailed for a model that is too big even if it were alone."""
    if memory is not None and spec.weight_bytes > memory.most:
        needs, has = (f"{size / 1e9:.1f} GB" for size in (spec.weight_bytes, memory.most))
        packed = spec.quantization == UNPACKED and computes_in_fp8(spec.device)
        advice = ", or pip install kernels, which keeps this one in FP8" if packed else ""
        raise ModelFailed(
            spec.model,
            f"its weights take {needs} and {spec.device} has room for {has}; "
            f"choose a smaller one{advice}",
        )


def in_the_way(
    spec: EngineSpec, loaded: Mapping[str, EngineSpec], keep: int, memory: Memory | None
) -> str | None:
    """Which of the models that are loaded must go first, if any must; `loaded` names the least
    recently used one first. Those of other servers take no memory: none goes, and none makes
    another go."""
    ours = [name for name, other in loaded.items() if not other.remote]
    if spec.remote:
        return None
    if len(ours) >= keep:
        return ours[0]
    if memory is None or memory.holds(spec.weight_bytes):
        return None
    return next((name for name in ours if loaded[name].device == spec.device), None)


def weight_bytes(
    name: str, folder: Path, config: dict[str, Any], dtype: str, quantization: str
) -> int:
    """What the weights of a model will take, from its small files or its published size; 0: that
    cannot be told before they are here. `quantization`: resolved."""
    stored = _stored_bytes(name, folder)
    if "quantization_config" in config:
        if quantization != UNPACKED:
            return stored
        model = published(name)
        return _BYTES.get(dtype, 2) * (model.size.parameters if model else _parameters(folder))
    if quantization != NONE:
        stored //= 2
    as_asked = _BYTES.get(dtype, 2)
    return stored * as_asked // _BYTES.get(saved_dtype(config), as_asked)


def saved_dtype(config: dict[str, Any]) -> str:
    """The type that a model's weights were saved in; empty: its config does not say."""
    found = config.get("dtype") or config.get("torch_dtype") or config["text_config"].get("dtype")
    return str(found or "")


def _stored_bytes(name: str, folder: Path) -> int:
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        return int(index["metadata"]["total_size"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    here = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    model = published(name)
    return here or (model.weight_bytes if model else 0)


def _parameters(folder: Path) -> int:
    """Of the weights that lie here, by the headers of their files; scales are none."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "np") as weights:
            for name in weights.keys():  # noqa: SIM118
                if not name.endswith("_scale_inv"):
                    total += math.prod(weights.get_slice(name).get_shape())
    return total


def _gpus(device: str) -> Memory:
    """Of one, or of all for "cuda", which accelerate spreads a model over."""
    import torch  # a service without a model does without its seconds

    free = most = 0
    for one in range(torch.cuda.device_count()) if device == "cuda" else (torch.device(device),):
        unused, _ = torch.cuda.mem_get_info(one)
        reserved = torch.cuda.memory_reserved(one)
        free += unused + reserved - torch.cuda.memory_allocated(one)
        most += unused + reserved
    return Memory(free, most)


def _host(machine: dict[str, int], process: dict[str, int]) -> Memory | None:
    """Weights are mapped from their files, which the kernel counts as available: not so here, while
    they are in use."""
    if "MemAvailable" not in machine:
        return None
    available = machine["MemAvailable"]
    mapped, own = process.get("RssFile", 0), process.get("RssAnon", 0)
    return Memory(max(0, available - mapped), available + own)


def _read(path: str) -> dict[str, int]:
    """The sizes of one of Linux's tables, in bytes; empty where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in rows}
