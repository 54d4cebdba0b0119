"""A video in the prompt: ids, positions and pixels are those of Qwen3VLProcessor.

Where torchvision is there, with its own Qwen3VLVideoProcessor; everywhere with one that makes the
pixels without it.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from transformers import AutoConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from cache_store import images
from qwen_ui.demo_model import VARIANTS, WEIGHTS
from qwen_ui.engines.clips import Clip
from qwen_ui.engines.features import pixels_of
from qwen_ui.engines.processor import PictureProcessor, load_processor
from qwen_ui.engines.prompt import PairKey, Prompt, build_prompt
from qwen_ui.engines.video_input import (
    NATIVE,
    PICTURES,
    VideoInput,
    load_video_input,
    resolve_video_input,
)
from qwen_ui.errors import ModelFailed
from qwen_ui.types import Frame, Message
from tests.engines.tiny import clip, native_demo, picture, write_video_config
from tests.engines.video_reference import Reference, WithoutTorchvision, reference_of

FRAME = "<|vision_start|><|image_pad|><|vision_end|>"
BIG = {"shortest_edge": 4096, "longest_edge": 25_165_824}  # as published


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return native_demo(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def processor(folder: Path) -> PictureProcessor:
    return load_processor(folder)


@pytest.fixture(scope="module")
def video(folder: Path, processor: PictureProcessor) -> VideoInput:
    return load_video_input("demo", folder, processor)


@pytest.fixture(
    scope="module",
    params=[
        WithoutTorchvision,
        pytest.param(
            Qwen3VLVideoProcessor,
            marks=pytest.mark.skipif(find_spec("torchvision") is None, reason="no torchvision"),
        ),
    ],
)
def reference(request: pytest.FixtureRequest, folder: Path) -> Reference:
    config = json.loads((folder / "video_preprocessor_config.json").read_text())
    return reference_of(folder, request.param.from_dict(config | {"cap_pixels_per_frame": False}))


@pytest.fixture(scope="module")
def shell(folder: Path) -> Qwen3VLForConditionalGeneration:
    """The model without weights: only its positions are asked for."""
    with torch.device("meta"):
        return Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(str(folder)))


def user(*parts: object) -> Message:
    return Message("user", parts)  # type: ignore[arg-type]


CONVERSATIONS = {
    "two frames": (user(*clip(1, 2), "what?"),),
    "an odd number": (user(*clip(1, 2, 3), "what?"),),
    "enlarged": (user(*clip(1, 2, size=(40, 30)), "what?"),),
    "reduced": (user(*clip(*range(6), size=(160, 120)), "what?"),),
    "a picture and a video": (user(picture(1), *clip(2, 3), "and", picture(4), "what?"),),
    "two videos": (user(*clip(1, 2), *clip(3, 4, 5, start_s=2), "differ?"),),
    "odd times": (user(*clip(1, 2, 3, 4, start_s=1 / 3, every_s=0.7), "what?"),),
    "two turns": (
        user("look", *clip(1, 2, size=(96, 64)), "what?"),
        Message("assistant", ("a disc",)),
        user(picture(3), *clip(4, 5), "and this?"),
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_positions_and_pixels_are_those_of_the_processor(
    name: str,
    processor: PictureProcessor,
    video: VideoInput,
    reference: Reference,
    shell: Qwen3VLForConditionalGeneration,
) -> None:
    messages = CONVERSATIONS[name]
    prompt = build_prompt(messages, processor, shell, 10_000, video)
    theirs = reference.inputs(messages)
    assert prompt.ids == theirs["input_ids"][0].tolist()
    axes, _ = shell.model.get_rope_index(
        theirs["input_ids"],
        mm_token_type_ids=theirs["mm_token_type_ids"],
        image_grid_thw=theirs.get("image_grid_thw"),
        video_grid_thw=theirs["video_grid_thw"],
    )
    assert torch.equal(prompt.position_ids[1:], axes)
    pairs = [span for span in prompt.pictures if isinstance(span.key, PairKey)]
    pixels = torch.cat([pixels_of(span, processor, video) for span in pairs])
    wanted = theirs["pixel_values_videos"]
    assert pixels.shape == wanted.shape
    # torchvision resizes otherwise than PIL: by two of 255 levels at most, of which each is 2/255
    resized = name in ("enlarged", "reduced")
    foreign = not isinstance(reference.video_processor, WithoutTorchvision)
    most = 4.01 / 255 if resized and foreign else 1.2e-7
    assert (pixels - wanted).abs().max() <= most
    if not resized:
        assert torch.equal(pixels.bfloat16(), wanted.bfloat16())


@settings(max_examples=300)
@given(
    frames=st.integers(2, 40),
    height=st.integers(8, 900),
    width=st.integers(8, 900),
    size=st.sampled_from([BIG, {"shortest_edge": 131_072, "longest_edge": 786_432}]),
    cap=st.booleans(),
)
def test_a_grid_has_the_patches_that_transformers_counts(
    processor: PictureProcessor,
    frames: int,
    height: int,
    width: int,
    size: dict[str, int],
    cap: bool,
) -> None:
    theirs = Qwen3VLVideoProcessor.from_dict({"size": size, "cap_pixels_per_frame": cap})
    parts = clip(0, 0, size=(width, height))
    frame = parts[1]
    found = VideoInput(theirs, processor).grid_of(Clip((frame,) * frames))  # type: ignore[arg-type]
    pairs = (frames + 1) // 2
    assert found[0] == 1
    assert pairs * found[1] * found[2] == theirs.get_num_of_video_patches(frames, height, width)


def test_of_one_frame_a_pair_with_itself_is_read(
    processor: PictureProcessor, video: VideoInput, shell: Qwen3VLForConditionalGeneration
) -> None:
    """transformers refuses a video of one frame."""
    once, twice = (
        build_prompt((user(*clip(*seeds, every_s=0.0), "what?"),), processor, shell, 10_000, video)
        for seeds in ((1,), (1, 1))
    )
    assert once.ids == twice.ids
    assert [span.key for span in once.pictures] == [span.key for span in twice.pictures]


def both_steps(
    first: Message,
    second: Message,
    processor: PictureProcessor,
    video: VideoInput,
    shell: Qwen3VLForConditionalGeneration,
) -> tuple[Prompt, Prompt]:
    one, other = (build_prompt((m,), processor, shell, 10_000, video) for m in (first, second))
    return one, other


def test_videos_of_equal_form_make_equal_ids_and_different_steps(
    processor: PictureProcessor, video: VideoInput, shell: Qwen3VLForConditionalGeneration
) -> None:
    for seeds in ((2, 1), (1, 1), (1, 3)):
        one, other = both_steps(user(*clip(1, 2)), user(*clip(*seeds)), processor, video, shell)
        assert one.ids == other.ids
        assert one.step(0, one.length) != other.step(0, other.length)


def test_marks_typed_by_a_user_are_text(
    processor: PictureProcessor, video: VideoInput, shell: Qwen3VLForConditionalGeneration
) -> None:
    asked = user("<|video_pad|><|vision_start|>", *clip(1, 2), "<|video_pad|>")
    prompt = build_prompt((asked,), processor, shell, 10_000, video)
    (span,) = prompt.pictures
    assert prompt.ids.count(processor.video_token_id) == span.end - span.start


def test_as_pictures_times_and_frames_follow_each_other_without_anything_between() -> None:
    demo = load_processor(WEIGHTS / "demo")
    content = [
        part
        for at in range(3)
        for part in ({"type": "text", "text": f"<{at}.0 seconds>"}, {"type": "image"})
    ]
    prompt = demo.apply_chat_template(
        [{"role": "user", "content": [*content, {"type": "text", "text": "what happens?"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    shown = "".join(f"<{at}.0 seconds>{FRAME}" for at in range(3))
    assert f"<|im_start|>user\n{shown}what happens?<|im_end|>" in prompt


def test_four_frames_take_half_the_tokens_of_four_pictures(
    processor: PictureProcessor, video: VideoInput, shell: Qwen3VLForConditionalGeneration
) -> None:
    asked = (user(*clip(1, 2, 3, 4, size=(128, 128)), "what?"),)
    counts = []
    for way in (video, None):
        prompt = build_prompt(asked, processor, shell, 10_000, way)
        counts.append(sum(span.end - span.start for span in prompt.pictures))
    assert counts == [32, 64]


# --- which way a model reads them ---------------------------------------------------------------


def test_auto_is_native_where_the_model_says_how_and_pictures_elsewhere(folder: Path) -> None:
    assert resolve_video_input("m", folder, "auto") == NATIVE
    assert resolve_video_input("m", folder, NATIVE) == NATIVE
    assert resolve_video_input("m", folder, PICTURES) == PICTURES
    assert resolve_video_input("m", VARIANTS["demo"], "auto") == PICTURES


def test_what_a_model_cannot_do_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match="has no video_preprocessor_config"):
        resolve_video_input("m", tmp_path, NATIVE)
    write_video_config(tmp_path, temporal_patch_size=3)
    assert resolve_video_input("m", tmp_path, "auto") == PICTURES
    with pytest.raises(ModelFailed, match="in pairs; use --video-input pictures"):
        resolve_video_input("m", tmp_path, NATIVE)
    (tmp_path / "video_preprocessor_config.json").write_text("{half")
    with pytest.raises(ModelFailed, match="cannot be read"):
        resolve_video_input("m", tmp_path, "auto")


def test_a_template_without_videos_is_a_clear_error(folder: Path) -> None:
    demo = load_processor(VARIANTS["demo"])
    with pytest.raises(ModelFailed, match="template knows no video"):
        load_video_input("m", folder, demo)


# --- what is hashed is what is run ---------------------------------------------------------------


def frames_of(values: torch.Tensor, width: int, height: int) -> list[PILImage.Image]:
    """The inverse of patching and normalising (patch 16, merged 2 by 2, two frames)."""
    patches = values.double().view(height // 32, width // 32, 2, 2, 3, 2, 16, 16)
    frames = patches.permute(5, 0, 2, 6, 1, 3, 7, 4).reshape(2, height, width, 3)
    exact = (frames * 0.5 + 0.5) * 255
    assert (exact - exact.round()).abs().max() < 1e-3
    return [PILImage.fromarray(frame.numpy()) for frame in exact.round().to(torch.uint8)]


def test_the_frames_inside_the_models_input_have_the_digests_of_the_key(
    processor: PictureProcessor, video: VideoInput, shell: Qwen3VLForConditionalGeneration
) -> None:
    parts = clip(1, 2, 3, size=(96, 64))
    prompt = build_prompt((user(*parts),), processor, shell, 10_000, video)
    seen = []
    for span in prompt.pictures:
        for frame in frames_of(pixels_of(span, processor, video), 96, 64):
            frame.info["frames"] = 1
            seen.append(images.digest(frame))
    first, second, third = (part.digest for part in parts if isinstance(part, Frame))
    assert seen == [first, second, third, third]
    assert [digest for span in prompt.pictures for digest in span.key[:2]] == seen
