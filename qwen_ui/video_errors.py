"""Why a video is not looked at, in the same manner as errors.

BadRequest
└── VideoRefused                415  base
    ├── BadVideo                415  error.bad_video   (it cannot be decoded)
    ├── VideoWithoutFrames      415  error.video_without_frames
    ├── VideoNotSupported       415  error.video_not_supported   (PyAV is missing here)
    ├── VideoTooBig             413  error.video_too_big
    ├── VideoTooLong            413  error.video_too_long
    ├── VideoTooHeavy           413  error.video_too_heavy   (to decode)
    └── NoSuchPart              400  error.no_such_part
"""

from __future__ import annotations

from qwen_ui.errors import BadRequest


class VideoRefused(BadRequest):
    """Base. `params` of a kind are its keyword arguments, `name` the file's."""

    status = 415

    def __init__(self, sentence: str, name: str, **params: str | int) -> None:
        super().__init__(f"{name} {sentence}", name=name, **params)


class BadVideo(VideoRefused):
    text_key = "error.bad_video"

    def __init__(self, name: str) -> None:
        super().__init__(
            "cannot be read as a video. Save it as MP4 (H.264) or WebM and try again.", name
        )


class VideoWithoutFrames(VideoRefused):
    text_key = "error.video_without_frames"

    def __init__(self, name: str) -> None:
        super().__init__("has no moving picture that can be shown.", name)


class VideoNotSupported(VideoRefused):
    """PyAV, the extra `video`, is missing here."""

    text_key = "error.video_not_supported"

    def __init__(self, name: str) -> None:
        super().__init__(
            "is a video, and this server cannot read any until its host runs: pip install 'av<19'",
            name,
        )


class VideoTooBig(VideoRefused):
    """A frame has more pixels than the limit, which is in megapixels."""

    status, text_key = 413, "error.video_too_big"

    def __init__(self, name: str, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"is too big ({width} x {height} pixels a frame; the limit is {limit} megapixels)."
            " Scale it down and try again.",
            name,
            width=width,
            height=height,
            limit=limit,
        )


class VideoTooLong(VideoRefused):
    """Both lengths as a clock shows them."""

    status, text_key = 413, "error.video_too_long"

    def __init__(self, name: str, length: str, limit: str) -> None:
        super().__init__(
            f"is too long ({length}; the limit is {limit}). Cut it and try again.",
            name,
            length=length,
            limit=limit,
        )


class VideoTooHeavy(VideoRefused):
    """The wanted frames lie far behind the key frames that decoding has to begin with."""

    status, text_key = 413, "error.video_too_heavy"

    def __init__(self, name: str) -> None:
        super().__init__("takes too long to decode. Cut it, or scale it down, and try again.", name)


class NoSuchPart(VideoRefused):
    """Both times as a clock shows them."""

    status, text_key = 400, "error.no_such_part"

    def __init__(self, name: str, length: str, start: str) -> None:
        super().__init__(
            f"is {length} long: nothing begins at {start}.", name, length=length, start=start
        )
