"""The tokenizer: Qwen's own class and special tokens over a small vocabulary of our own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from qwen_ui.demo_model import words
from qwen_ui.demo_model.questions import KINDS, ask
from qwen_ui.demo_model.scenes import number_scene, shapes_scene
from qwen_ui.demo_model.thoughts import thought

VOCABULARY = 1500
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
# As in Qwen3: added, but not special, so that they survive `skip_special_tokens`.
PLAIN = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)


def _corpus(samples: int) -> Iterator[str]:
    rng = Random("corpus")
    for seed in range(samples):
        scene = (
            number_scene(seed, 320, 240)
            if seed % 8 == 0
            else shapes_scene(seed, 320, 240, seed % 4)
        )
        for language in ("en", "zh"):
            question = ask(rng.choice(KINDS), scene, language, rng)
            if question is not None:
                answers = f"{question.short}\n{question.full}\n{thought(scene, question)}"
                yield f"{question.text}\n\n{answers}"
    for _ in range(40):
        yield from (f" {word}" for word in words.WORDS_EN)
    written = set(
        "".join(re.findall(r"[\u4e00-\u9fff]", Path(words.__file__).read_text(encoding="utf8")))
    )
    han = sorted(set(words.HAN) | written)
    for _ in range(60):
        yield "".join(han)
    yield "user\nassistant\nsystem\nYou are a helpful assistant.\n" * 50


def train_tokenizer(samples: int = 12000) -> Qwen2Tokenizer:
    """A Han character is one token: they are split off before the merges are learnt, so no
    merge crosses a character, and Qwen's own splitting gives the same tokens at run time."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), behavior="isolated"),
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=5,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(_corpus(samples), trainer)
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(m) for m in model["merges"]],
        model_max_length=2048,
        additional_special_tokens=list(SPECIAL[1:]),
    )
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer
