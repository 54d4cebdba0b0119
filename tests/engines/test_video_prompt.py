"""A video in the prompt: written as by Qwen3-VL's own path, with a picture for each frame."""

from __future__ import annotations

from qwen_ui.demo_model import WEIGHTS
from qwen_ui.engines.processor import load_processor

FRAME = "<|vision_start|><|image_pad|><|vision_end|>"


def test_times_and_frames_follow_each_other_without_anything_between() -> None:
    processor = load_processor(WEIGHTS / "demo")
    content = [
        part
        for at in range(3)
        for part in ({"type": "text", "text": f"<{at}.0 seconds>"}, {"type": "image"})
    ]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": "what happens?"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    video = "".join(f"<{at}.0 seconds>{FRAME}" for at in range(3))
    assert f"<|im_start|>user\n{video}what happens?<|im_end|>" in prompt
