"""How much of decoded videos stays in memory."""

from __future__ import annotations

from PIL import Image as PILImage

from qwen_ui.kept_frames import KeptFrames

SIZE = 10 * 10 * 3


def frames(*digests: str) -> dict[str, PILImage.Image]:
    return {digest: PILImage.new("RGB", (10, 10)) for digest in digests}


def held(kept: KeptFrames, *videos: str) -> list[str]:
    return [video for video in videos if kept.get(video, "a") is not None]


def test_past_the_bytes_the_least_recently_used_videos_go_as_a_whole() -> None:
    kept = KeptFrames(4 * SIZE)
    kept.put("one", frames("a", "b"))
    kept.put("two", frames("a", "b"))
    assert held(kept, "two", "one") == ["two", "one"]  # now two is the older one
    kept.put("three", frames("a"))
    assert kept.get("two", "b") is None
    assert held(kept, "one", "two", "three") == ["one", "three"]


def test_the_newest_video_stays_however_big_it_is() -> None:
    kept = KeptFrames(SIZE)
    kept.put("small", frames("a"))
    kept.put("big", frames("a", "b", "c"))
    assert held(kept, "small", "big") == ["big"]
    assert kept.get("big", "c") is not None
    assert kept.get("big", "d") is None


def test_what_was_put_again_counts_once() -> None:
    kept = KeptFrames(2 * SIZE)
    for _ in range(3):
        kept.put("one", frames("a"))
    kept.put("two", frames("a"))
    assert held(kept, "one", "two") == ["one", "two"]
    kept.clear()
    assert held(kept, "one", "two") == []
