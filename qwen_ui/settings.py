"""Every setting, once: the field is the environment variable, the flag and the line of help."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict, SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

from qwen_ui.types import Match

MIB = 2**20


class Settings(BaseSettings):
    """Web chat for Qwen3-VL with an exact answer cache."""

    model_config = SettingsConfigDict(
        env_prefix="QWEN_UI_",
        frozen=True,
        cli_prog_name="python app.py",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    # the model
    model: str = Field(
        "auto",
        description="hub id, short name (4b, 8b-thinking, 30b-a3b-fp8) or folder of a Qwen3-VL "
        "model, openai:URL#NAME for one that another server has, demo, demo-thinking, or auto: "
        "Qwen3-VL-4B-Instruct where a CUDA device and the weights are at hand, else demo",
    )
    models: str = Field(
        "", description="further models for the picker, separated by commas; loaded when chosen"
    )
    revision: str | None = Field(None, description="branch, tag or commit of --model on the hub")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: as the weights were saved"
    )
    quantization: Literal["none", "torchao-int8"] = Field(
        "none",
        description="torchao-int8: the text layers' weights in one byte each instead of two; needs "
        "the package torchao",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="auto: flash_attention_2 where it is installed and can run, else sdpa"
    )
    decoding: Literal["auto", "eager", "graph", "triton"] = Field(
        "auto",
        description="how a GPU computes a token; auto: triton (a CUDA graph of our own kernels), "
        "or graph (of torch's) where there is no C compiler, or eager where neither can be",
    )
    min_pixels: int | None = Field(
        None, ge=1024, description="smaller pictures are enlarged to this; none: the model's own"
    )
    max_pixels: int = Field(
        1_310_720,
        ge=1024,
        description="larger pictures are reduced to this for the model, never above its own limit",
    )
    max_tokens: int = Field(2048, ge=1, description="longest answer, in tokens")
    max_thought_tokens: int | None = Field(
        None,
        ge=0,
        description="longest thought of a thinking model of ours, in tokens; none: no limit",
    )
    keep_loaded: int = Field(
        1, ge=1, description="models kept in memory side by side, where they fit"
    )
    max_queue: int = Field(32, ge=1, description="questions that may wait for a model")
    queue_timeout_s: float = Field(
        300, gt=0, description="seconds a question may wait for its turn, once the model is loaded"
    )
    prefix_max_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="budget, for each loaded model, of prompts kept as far as they were read, "
        "so that a new question about a known picture starts after the question alone; 0: none",
    )
    prefix_device_max_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="the same in the memory of a GPU, before they move to the one above",
    )
    feature_max_bytes: int = Field(
        512 * MIB, ge=0, description="budget, for each loaded model, of encoded pictures; 0: none"
    )

    remote_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys of servers named in --model and --models: HOST=KEY or "
        "HOST:PORT=KEY, separated by commas; better set as a variable, since flags can be seen",
    )
    remote_timeout_s: float = Field(
        120, gt=0, description="seconds another server may take until the first word"
    )

    # the cache
    cache_dir: Path = Field(
        Path("~/.cache/qwen-ui"), description="answers, statistics and uploaded files"
    )
    cache_store: str = Field(
        "disk:",
        description="where answers are kept beside memory: disk: (in --cache-dir), disk:PATH, "
        "redis://HOST:PORT/DB (several machines share it), memory: (nowhere)",
    )
    visibility: Literal["shared", "user", "session"] = Field(
        "shared",
        description="who is served whose answers: shared, everybody; user, each only their own "
        "(without a login: their session's); session, each open page its own",
    )
    cache_ttl_s: float = Field(86_400, ge=0, description="seconds an answer is kept; 0: none is")
    cache_ttl_now_s: float = Field(
        300, ge=0, description="the same for questions about now (today, latest, ...), if shorter"
    )
    cache_match: Match = Field(
        Match.EQUIVALENT,
        description="exact: only answers to the same words; equivalent: also to a rewording that "
        "keeps the meaning, labelled with the question that was asked",
    )
    cache_max_bytes: int = Field(1024 * MIB, ge=MIB, description="budget of the answers on disk")
    memory_max_bytes: int = Field(64 * MIB, ge=0, description="budget of the answers in memory")
    media_max_bytes: int = Field(
        512 * MIB, ge=MIB, description="budget of uploaded pictures and videos"
    )
    media_ttl_s: float = Field(
        86_400, gt=0, description="seconds an uploaded picture or video is kept"
    )

    audit_rate: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of hits that the idle model answers again, as proof; 0: none",
    )

    # limits of one question
    max_upload_bytes: int = Field(64 * MIB, ge=1024, description="largest picture or video file")
    max_image_pixels: int = Field(
        64 * MIB, ge=1024, description="largest picture, in pixels; refused before decoding"
    )
    max_images: int = Field(8, ge=1, description="pictures and videos in one question")
    max_question_chars: int = Field(20_000, ge=1, description="longest question")

    # videos (need the extra `video`)
    video_input: Literal["auto", "native", "pictures"] = Field(
        "auto",
        description="how a model reads a video; native: as one, frames in pairs; pictures: frame "
        "by frame, as the demo models and other servers' always do; auto: native where the model "
        "comes with a video_preprocessor_config.json, as all published ones do",
    )
    video_fps: float = Field(1.0, gt=0, le=10, description="frames of a video per second")
    video_frames: int = Field(
        16, ge=1, le=768, description="frames of one video; of a longer one, fewer per second"
    )
    video_frame_pixels: int = Field(
        307_200, ge=1024, description="larger frames are reduced to this, in pixels"
    )
    max_video_pixels: int = Field(
        9 * MIB, ge=1024, description="largest frame of a video file, in pixels"
    )
    max_video_s: float = Field(
        3600, gt=0, description="longest video, or part of one that is asked about, in seconds"
    )

    # the server
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0: every interface")
    port: int = Field(7860, ge=0, le=65_535, description="port to listen on; 0: any free one")
    share: bool = Field(False, description="make a public gradio.live link")
    logins: Path | None = Field(
        None,
        description="file with a line NAME:PASSWORD for each person who may use the page; "
        "none: everybody may",
    )
    root_path: str = Field("", description="path prefix when a reverse proxy serves the app")
    dry_run: bool = Field(
        False,
        description="say how many stored answers these versions and settings would find no more, "
        "and end",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what goes to the terminal"
    )

    @property
    def directory(self) -> Path:
        """`cache_dir` with the home directory filled in."""
        return self.cache_dir.expanduser()


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings from flags, then the environment, then defaults. Exits 0 on --help, 2 on errors."""
    try:
        return CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as error:
        lines = [_explained(str(fault["loc"][0]), fault) for fault in error.errors()]
    except SettingsError as error:
        lines = [str(error).splitlines()[0]]
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(2)


def _explained(field: str, fault: ErrorDetails) -> str:
    flag, variable = f"--{field.replace('_', '-')}", f"QWEN_UI_{field.upper()}"
    return f"{flag} ({variable}): {fault['msg']}, not {fault['input']!r}"
