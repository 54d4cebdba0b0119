"""How a video stands in the chat: one frame with its length, and what the model reads of it."""

from __future__ import annotations

from qwen_ui.frame_times import clock
from qwen_ui.types import Video
from qwen_ui.ui.i18n import Texts


def video_note(video: Video, say: Texts, *, native: bool) -> str:
    """Says openly how many frames are read; `native`: as a video, not as single pictures."""
    if video.frames == 1:
        return say("chat.video_one", name=video.name, length=_length(video))
    if video.every_s > 1:
        rate = say("chat.video_every", seconds=f"{video.every_s:.4g}")
    else:
        rate = say("chat.video_rate", count=f"{1 / video.every_s:.4g}")
    text = "chat.video_native" if native else "chat.video"
    return say(text, name=video.name, length=_length(video), frames=video.frames, rate=rate)


def poster(video: Video, image: str) -> str:
    """HTML of its thumbnail, told apart from a picture."""
    return f'<span class="video">{image}<span>▶ {_length(video)}</span></span>'


def _length(video: Video) -> str:
    whole = clock(video.length_s)
    if (video.start_s, video.end_s) == (0, video.length_s):
        return whole
    return f"{clock(video.start_s)}–{clock(video.end_s)} / {whole}"
