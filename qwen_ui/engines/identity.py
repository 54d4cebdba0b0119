"""Who a model is, found before its weights are loaded: the EngineSpec of a folder.

Everything that can change an answer is read here from files and from the machine; the loader then
obeys it. A fingerprint made this way serves hits while the model is still loading.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import tokenizers
import torch
import transformers
from transformers.utils import is_flash_attn_2_available

from qwen_ui.engines.base import EngineSpec, Sampling
from qwen_ui.engines.chunks import CHUNK_TOKENS, GPU_CHUNK_TOKENS
from qwen_ui.engines.decoding import resolve_decoding
from qwen_ui.engines.memory import saved_dtype, weight_bytes
from qwen_ui.engines.packages import installed
from qwen_ui.engines.quantization import NONE, resolve_quantization
from qwen_ui.engines.video_input import CONFIG, resolve_video_input
from qwen_ui.errors import ModelFailed

log = logging.getLogger(__name__)

# Raised with every change of the cuts (chunks.py) or of the KV cache (kv.py): both change bits.
PREFILL = "prefill 1"

# oneDNN multiplies otherwise where a CPU has them; torch calls all of these AVX512
_MORE_OF_A_CPU = ("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")

ARCHITECTURES = ("qwen3_vl", "qwen3_vl_moe")

# Published for Qwen3-VL Thinking (its generation_config.json); greedy decoding loops there.
PUBLISHED_THINKING = Sampling(temperature=1.0, top_p=0.95, top_k=20, seed=0)

_FLASH = "flash_attention_2"

_INPUT_FILES = (
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    CONFIG,
    "vocab.json",
)


@dataclass(frozen=True, slots=True)
class Placement:
    """What the operator asked for; `auto` is decided here."""

    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    min_pixels: int | None = None
    max_pixels: int | None = None
    quantization: str = NONE
    decoding: str = "auto"
    video: str = "auto"


def resolve_spec(
    name: str, folder: Path, revision: str, placement: Placement, *, source: str, demo: bool = False
) -> EngineSpec:
    """The identity of the model whose small files lie in `folder`. Raises errors.ModelFailed."""
    config = _read_json(name, folder / "config.json")
    if config.get("model_type") not in ARCHITECTURES:
        raise ModelFailed(name, f"it is a {config.get('model_type')} model, not a Qwen3-VL")
    device = _device(name, placement.device)
    dtype = _dtype(config, placement.dtype)
    attention = _attention(placement.attention, device, dtype)
    low, high = _pixel_limits(name, folder, placement)
    thinking = _opens_a_thought(folder)
    quantization = resolve_quantization(name, placement.quantization, config, device)
    return EngineSpec(
        engine="transformers",
        model=name,
        source=source,
        revision=revision,
        dtype=dtype,
        attention=attention,
        device=device,
        kernels=_kernels(device),
        inputs=digest_files(folder / file for file in _INPUT_FILES),
        min_pixels=low,
        max_pixels=high,
        context_tokens=int(config["text_config"]["max_position_embeddings"]),
        versions=_versions(attention),
        decoding=resolve_decoding(name, placement.decoding, config, device, quantization),
        chunk_tokens=GPU_CHUNK_TOKENS if device.startswith("cuda") else CHUNK_TOKENS,
        thinking=thinking,
        demo=demo,
        sampling=_sampling(folder) if thinking else Sampling(),
        quantization=quantization,
        video=resolve_video_input(name, folder, placement.video),
        weight_bytes=weight_bytes(name, folder, config, dtype, quantization),
    )


def digest_files(paths: Iterable[Path]) -> str:
    """Hex SHA-256 over names and contents of those files that exist, in the given order."""
    total = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.name} {content}\n".encode())
    return total.hexdigest()


def weights_digest(folder: Path, memo: Path) -> str:
    """A digest over config and weights of a local folder; read again only where files changed.

    `memo` is a JSON file that remembers digests by path, size and modification time, since reading
    the weights of a big model takes a minute.
    """
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json"]
    ends = folder / "generation_config.json"  # the tokens that end an answer
    files += [ends] if ends.is_file() else []
    stamp = [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    key = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()
    try:
        known = json.loads(memo.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = digest_files(files)
        try:
            memo.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            memo.write_text(json.dumps(known))
        except OSError as error:
            log.warning("the digest of %s is not remembered: %s", folder, error)
    return str(known[key])


def _read_json(name: str, path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelFailed(name, f"{path.name} cannot be read in {path.parent}") from error
    return content


def _device(name: str, asked: str) -> str:
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ModelFailed(name, f"there is no device called {asked}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelFailed(name, "there is no CUDA device here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelFailed(name, f"there is no {asked} here; the first one is cuda:0")
    return asked


def _dtype(config: dict[str, Any], asked: str) -> str:
    if asked != "auto":
        return asked
    return saved_dtype(config) or "float32"


def _attention(asked: str, device: str, dtype: str) -> str:
    if asked != "auto":
        return asked
    flash = device.startswith("cuda") and dtype != "float32" and is_flash_attn_2_available()
    return _FLASH if flash else "sdpa"


def _versions(attention: str) -> tuple[str, ...]:
    """Of the packages that may compute something else in another version, from the text and the
    picture to the text of the answer."""
    flash = (f"flash-attn {installed('flash-attn')}",) if attention == _FLASH else ()
    return (
        f"torch {torch.__version__}",
        f"transformers {transformers.__version__}",
        f"tokenizers {tokenizers.__version__}",
        f"pillow {PIL.__version__}",
        *flash,
        PREFILL,
    )


def _kernels(device: str) -> str:
    """What computes: bits may differ between GPU models, instruction sets, numbers of threads."""
    if device == "cpu":
        told: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # newer than 2.8
        more = [name for name in _MORE_OF_A_CPU if told.get(name)]
        sets = " ".join([torch.backends.cpu.get_cpu_capability(), *more])
        return f"{sets} x{torch.get_num_threads()}"
    if not device.startswith("cuda"):
        return device
    used = range(torch.cuda.device_count()) if device == "cuda" else [torch.device(device)]
    names = sorted({torch.cuda.get_device_name(one) for one in used})
    return f"{len(used)} {', '.join(names)}, CUDA {torch.version.cuda}"


def _pixel_limits(name: str, folder: Path, placement: Placement) -> tuple[int, int]:
    """(fewest, most) pixels of a picture; a setting may lower the model's maximum, not raise it."""
    size = _picture_settings(name, folder).get("size", {})
    low = placement.min_pixels or int(size.get("shortest_edge", 65_536))
    high = int(size.get("longest_edge", 16_777_216))
    if placement.max_pixels is not None:
        high = min(high, placement.max_pixels)
    if low > high:
        raise ModelFailed(name, f"min_pixels {low} is more than max_pixels {high}")
    return low, high


def _picture_settings(name: str, folder: Path) -> dict[str, Any]:
    """From where transformers looks first: it now saves all of a processor in one file."""
    whole = folder / "processor_config.json"
    nested = _read_json(name, whole).get("image_processor") if whole.is_file() else None
    return nested or _read_json(name, folder / "preprocessor_config.json")


def _opens_a_thought(folder: Path) -> bool:
    """Whether the generation prompt of the chat template ends inside `<think>`."""
    for file in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        path = folder / file
        if path.is_file() and r"assistant\n<think>" in path.read_text().replace(r"\\n", r"\n"):
            return True
    return False


def _sampling(folder: Path) -> Sampling:
    try:
        published = json.loads((folder / "generation_config.json").read_text())
    except (OSError, ValueError):
        published = {}
    if not published.get("do_sample", True):
        return Sampling()
    return Sampling(
        temperature=float(published.get("temperature", PUBLISHED_THINKING.temperature)),
        top_p=float(published.get("top_p", PUBLISHED_THINKING.top_p)),
        top_k=int(published.get("top_k", PUBLISHED_THINKING.top_k)),
        seed=0,
    )
