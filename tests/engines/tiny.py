"""A random-weight Qwen3-VL of odd sizes in a folder: seconds to make, no meaning in its answers."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from PIL import Image as PILImage
from safetensors.torch import load_file, save_file
from transformers import Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from cache_store.images import canonicalise, digest
from qwen_ui.demo_model import VARIANTS
from qwen_ui.engines.base import (
    Completion,
    Engine,
    EngineEvent,
    Failure,
    GenerationRequest,
    Job,
    Sampling,
)
from qwen_ui.events import TextDelta, ThoughtDelta
from qwen_ui.types import Frame, Image, Message

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\nOPEN' }}{% endif %}"
)

FP8 = {"quantization_config": {"quant_method": "fp8"}}  # of a config.json


def save_tiny(
    folder: Path,
    *,
    thinking: bool = False,
    dtype: str = "float32",
    seed: int = 0,
    vision: Mapping[str, object] = MappingProxyType({}),
    text: Mapping[str, object] = MappingProxyType({}),
    max_pixels: int = 128 * 128,
    video: bool = False,
) -> Path:
    """Write a complete model folder; weights are drawn at random from `seed`.

    `vision` and `text`: what differs from the sizes of `_config`. `video`: it reads them natively.
    """
    tokenizer = byte_tokenizer(thinking)
    config = _config(tokenizer, vision, text)
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)  # wide enough for answers that vary
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": 64 * 64, "longest_edge": max_pixels},
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
    ).save_pretrained(folder)
    if video:
        write_video_config(folder)
    return folder


def write_video_config(folder: Path, **changed: object) -> None:
    """In the form that is published, with limits for small frames."""
    config = {
        "size": {"shortest_edge": 2 * 64 * 64, "longest_edge": 8 * 96 * 96},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "video_processor_type": "Qwen3VLVideoProcessor",
    }
    (folder / "video_preprocessor_config.json").write_text(json.dumps(config | changed))


def native_demo(folder: Path) -> Path:
    """A copy of the demo model that takes videos for videos, though it never learnt any."""
    shutil.copytree(VARIANTS["demo"], folder, dirs_exist_ok=True)
    template = folder / "chat_template.jinja"
    text = "{%- elif 'text' in item -%}"
    video = "{%- elif item.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>"
    template.write_text(template.read_text().replace(text, video + text))
    write_video_config(folder)
    return folder


def clip(
    *seeds: int, size: tuple[int, int] = (64, 64), start_s: float = 0.0, every_s: float = 1.0
) -> tuple[str | Image, ...]:
    """A video as it stands in a message: a frame of random pixels for each seed."""
    parts: list[str | Image] = []
    for place, seed in enumerate(seeds):
        shown, at_s = picture(seed, size), start_s + place * every_s
        frame = Frame(shown.digest, *size, shown.load, place, at_s, lambda: True)
        parts += [f"<{at_s:.1f} seconds>", frame]
    return tuple(parts)


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image:
    """A picture of random pixels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    pixels = canonicalise(PILImage.fromarray(noise.numpy()))
    return Image(digest(pixels), pixels.width, pixels.height, pixels.copy)


class Heard:
    """Listens to one job."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.ended = threading.Event()

    def __call__(self, event: EngineEvent) -> None:
        self.events.append(event)
        if isinstance(event, Completion | Failure):
            self.ended.set()

    def wait(self) -> Heard:
        assert self.ended.wait(60), "the engine did not end"
        return self

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def thought(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, ThoughtDelta))

    @property
    def completion(self) -> Completion:
        last = self.events[-1]
        assert isinstance(last, Completion), last
        return last

    @property
    def failure(self) -> Failure:
        last = self.events[-1]
        assert isinstance(last, Failure), last
        return last


def submit(
    engine: Engine, *messages: Message, max_tokens: int = 12, sampling: Sampling = Sampling()
) -> tuple[Job, Heard]:
    heard = Heard()
    return engine.submit(GenerationRequest(messages, sampling, max_tokens), heard), heard


def ask(
    engine: Engine, *messages: Message, max_tokens: int = 12, sampling: Sampling = Sampling()
) -> Heard:
    return submit(engine, *messages, max_tokens=max_tokens, sampling=sampling)[1].wait()


def byte_tokenizer(thinking: bool, size: int = 0) -> Qwen2Tokenizer:
    """One token a byte: nothing to train. Filled up with words that no text becomes to `size`."""
    from tokenizers.pre_tokenizers import ByteLevel

    words = sorted(ByteLevel.alphabet())
    words += [f"word{number} " for number in range(size - len(words) - len(SPECIAL) - 2)]
    tokenizer = Qwen2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.chat_template = TEMPLATE.replace("OPEN", "<think>\\n" if thinking else "")
    return tokenizer


def _config(
    tokenizer: Qwen2Tokenizer, vision: Mapping[str, object], text: Mapping[str, object]
) -> Qwen3VLConfig:
    ids = tokenizer.convert_tokens_to_ids
    return Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 48,
            "num_heads": 3,
            "intermediate_size": 80,
            "out_hidden_size": 80,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
            **vision,
        },
        text_config={
            "vocab_size": len(tokenizer) + 3,
            "hidden_size": 80,
            "intermediate_size": 112,
            "num_hidden_layers": 3,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
            **text,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )


# Vision: layers, width, MLP, deepstack. Text: width, MLP, heads, tied head; 36 layers, 8 KV heads
# of 128. From the models' config.json.
_PUBLISHED: dict[str, tuple[tuple[int, int, int, list[int]], tuple[int, int, int, bool]]] = {
    "4B": ((24, 1024, 4096, [5, 11, 17]), (2560, 9728, 32, True)),
    "8B": ((27, 1152, 4304, [8, 16, 24]), (4096, 12288, 32, False)),
}


def as_published_in_fp8(folder: Path) -> Path:
    """Its text's matrices as Qwen's FP8 models have them: e4m3 in blocks, with a scale a block."""
    weights = load_file(folder / "model.safetensors")
    block = 16
    for name in [n for n in weights if "language_model.layers" in n and n.endswith("proj.weight")]:
        rows, columns = (side // block for side in weights[name].shape)
        blocks = weights[name].float().reshape(rows, block, columns, block)
        scales = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        fp8 = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
        weights[name] = fp8.reshape(rows * block, columns * block)
        weights[f"{name}_scale_inv"] = scales
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [block, block],
        "modules_to_not_convert": ["lm_head", "model.visual"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def published_config(size: str, tokenizer: Qwen2Tokenizer) -> Qwen3VLConfig:
    """The architecture of a published Qwen3-VL; "small" is a little one for a try."""
    if size == "small":
        return _config(
            tokenizer, {}, {"vocab_size": len(tokenizer), "max_position_embeddings": 8192}
        )
    (depth, wide, inner, deepstack), (hidden, mlp, heads, tied) = _PUBLISHED[size]
    vision = {
        "depth": depth,
        "hidden_size": wide,
        "num_heads": 16,
        "intermediate_size": inner,
        "out_hidden_size": hidden,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": deepstack,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": 36,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262_144,
        "tie_word_embeddings": tied,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }
    config = _config(tokenizer, vision, text)
    config.tie_word_embeddings = tied
    return config
