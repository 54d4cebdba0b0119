"""The values that travel: pictures, messages, requests; what is told of models and of misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from PIL import Image as PILImage

from cache_store.types import CacheStats, FinishReason, Match, SeriesPoint, Suggestion

__all__ = [
    "Attachment",
    "CacheControl",
    "CacheStats",
    "ChatRequest",
    "FinishReason",
    "Frame",
    "Image",
    "Match",
    "Message",
    "MissCause",
    "MissReason",
    "ModelInfo",
    "ModelState",
    "Picture",
    "Role",
    "SamplingParams",
    "SeriesPoint",
    "Suggestion",
    "Video",
    "Visitor",
]

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture by the digest of its canonical pixels; the pixels are decoded when asked for.

    `load` decodes, checks that the digest is `digest`, and returns an upright RGB picture of
    `width` x `height`. It may be called from any thread; raises `errors.PictureGone`.
    """

    digest: str
    width: int
    height: int
    load: Callable[[], PILImage.Image] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Frame(Image):
    """A picture out of a video, always behind a text with its time. `place`: from 0; `at_s`: the
    time itself, counted from the start of the video.

    `at_hand` tells whether `load` would find it in memory; else a video is decoded, which may take
    a minute.
    """

    place: int
    at_s: float
    at_hand: Callable[[], bool] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Picture:
    """An uploaded picture that was accepted: what the model gets, and what the page shows.

    `id` is the SHA-256 of the file, `thumbnail` a small JPEG of at most 100 kB. `frames` above 1:
    an animation, of which the model sees the first frame.
    """

    id: str
    name: str
    image: Image
    thumbnail: Path
    frames: int

    @property
    def parts(self) -> tuple[str | Image, ...]:
        """What it is in a message."""
        return (self.image,)


@dataclass(frozen=True, slots=True)
class Video:
    """An uploaded video, or a part of one, that was accepted: `frames` pictures of it, one every
    `every_s`, are what the model gets.

    `parts` is what it is in a message: each frame behind a text with its time. `id` is the SHA-256
    of the file, `length_s` the length of the whole, `thumbnail` a small JPEG of one frame.
    """

    id: str
    name: str
    parts: tuple[str | Image, ...]
    frames: int
    every_s: float
    start_s: float
    end_s: float
    length_s: float
    thumbnail: Path


Attachment = Picture | Video


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `parts` keeps the order of text and pictures; texts are in canonical form."""

    role: Role
    parts: tuple[str | Image, ...]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What the caller asks for; None means the model's own default (see EngineSpec.sampling)."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    thought_tokens: int | None = None  # of a thinking model, before it must answer


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The request's side of HTTP caching (RFC 9111, 5.2.1)."""

    no_cache: bool = False  # ask the model again, then store
    no_store: bool = False  # keep nothing of this answer
    only_if_cached: bool = False  # a stored answer or errors.NotCached
    ttl_s: float | None = None  # how long to keep the answer; None: the policy's
    match: Match | None = None  # exact: nobody else's wording; None: as the server is set


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as the server knows it; nothing here is taken from what a client sends.

    `user`: who has proved to be it (Gradio's auth, an OAuth login, the owner of an API key), with
    the kind of proof in front so that two kinds cannot meet. `session`: an id that the server
    made. Both None: a stranger, who under `visibility` user or session shares with nobody.
    """

    user: str | None = None
    session: str | None = None

    @property
    def key(self) -> str:
        """Whose turn it is where visitors take turns; "": a stranger, another one each time."""
        if self.user is not None:
            return f"user:{self.user}"
        return "" if self.session is None else f"session:{self.session}"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A question in canonical form: what is hashed is what is run. Made by ChatService.open."""

    model: str
    messages: tuple[Message, ...]
    sampling: SamplingParams = SamplingParams()
    cache: CacheControl = CacheControl()
    visitor: Visitor = Visitor()


class MissCause(StrEnum):
    """Why a request was not a hit: what stood in the way of its own answer, or the first field in
    which the nearest kept one differs (the fields of `cache_store.explain`)."""

    ABSENT = "absent"  # nothing was kept that is near
    EXPIRED = "expired"
    MAX_TOKENS = "max_tokens"  # the kept answer has another length
    CORRUPT = "corrupt"  # it was damaged
    MISMATCH = "mismatch"  # it was stored under the name of another one
    VERSION = "version"
    MODEL = "model"
    ENGINE = "engine"
    SAMPLING = "sampling"
    HISTORY = "history"
    PICTURES = "pictures"
    ORDER = "order"
    QUESTION = "question"
    NOTHING = "nothing"  # by now it would be a hit


@dataclass(frozen=True, slots=True)
class MissReason:
    """`asked` and `kept` are the two values of what differs, `also` what differs besides it.

    `age_s` is the age of the nearest answer; None where it is not known.
    """

    cause: MissCause
    asked: str = ""
    kept: str = ""
    age_s: float | None = None
    also: tuple[MissCause, ...] = ()


class ModelState(StrEnum):
    """Where a model is on its way to answering."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the page shows of a model."""

    name: str
    state: ModelState
    progress: float  # of loading, 0 to 1
    description: str  # device, dtype, attention; why, when failed
    demo: bool
    max_pixels: int | None = None  # larger pictures are reduced to this; None: not known yet
    native_video: bool = False  # frames of a video are read as one, not as single pictures
