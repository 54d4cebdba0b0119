from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from qwen_ui.settings import Settings
from qwen_ui.types import CacheStats, SeriesPoint
from qwen_ui.ui.app import build_page
from qwen_ui.ui.cache_tab import CacheTab, duration_short, figures, percent_up, plot, size
from qwen_ui.ui.i18n import static_labels, texts
from tests.service import Chat
from tests.ui.visitor import visitor

EN, ZH = texts("en"), texts("zh")
STATS = CacheStats(
    hits_l1=5, hits_l2=1, misses=2, saved_s=75.0, saved_busy_s=70.0, entries=2,
    stored_bytes=2_400_000, memory_bytes=1_200, lookup_p50_s=0.0004, lookup_p95_s=0.0021,
    series=(SeriesPoint(60.0, 60.0, 0, 2), SeriesPoint(120.0, 60.0, 6, 0)),
)  # fmt: skip


def told(stats: CacheStats, language: str = "en") -> str:
    text = re.sub(r"<[^>]*>", " ", figures(stats, texts(language)))
    return " ".join(html.unescape(text).split())


def test_the_panel_has_every_figure() -> None:
    text = told(STATS)
    for part in (
        "75% hit rate", "hits 6 5 memory · 1 disk", "misses 2", "waiting saved 75 s",
        "device time saved 70 s", "answers kept 2 1.2 kB memory · 2.4 MB disk",
        "lookup p50 · p95 0.4 ms · 2.1 ms",
    ):  # fmt: skip
        assert part in text


def test_the_panel_tells_what_the_audit_proves() -> None:
    assert "hits asked again 0" in told(STATS)
    assert "confidence" not in told(STATS)
    proved = replace(STATS, audited=300, mismatched=0, mismatch_bound=0.009936)
    assert "hits asked again 300 0 differed · below 1.00 % at 95 % confidence" in told(proved)
    assert "已复核的命中 300 0 次不一致 · 95 % 置信上限 1.00 %" in told(proved, "zh")


def test_the_panel_names_rare_outcomes_only_where_there_are_any() -> None:
    assert "words" not in told(STATS)
    assert "shared" not in told(STATS)
    assert "drift" not in told(STATS)
    more = replace(
        STATS, equivalent_l1=1, equivalent_l2=2, collapsed=4, audited_remote=9, drifted=1
    )
    text = told(more)
    for part in ("3 in other words", "shared while running 4", "remote drift 1 of 9"):
        assert part in text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.95, "95 %"), (0.2589, "26 %"), (0.0295, "3.0 %"), (0.00291, "0.30 %"),
     (0.0000299573, "0.0030 %"), (0.0, "0 %")],
)  # fmt: skip
def test_a_bound_is_rounded_up(share: float, text: str) -> None:
    assert percent_up(share) == text


def test_the_panel_speaks_chinese() -> None:
    assert "75% 命中率" in told(STATS, "zh")


def test_an_empty_cache_has_figures_too() -> None:
    assert "0% hit rate" in told(CacheStats())
    assert plot(CacheStats(), EN).value is not None


def test_the_plot_counts_minutes_backwards_and_begins_at_zero() -> None:
    shown = plot(STATS, EN)
    assert shown.y_lim == [0, 8]
    assert plot(CacheStats(series=(SeriesPoint(0.0, 60.0, 1, 0),)), ZH).y_lim == [0, 4]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (33_000, "33 kB"), (5 * 10**9, "5.0 GB")],
)
def test_bytes_are_rounded(count: int, text: str) -> None:
    assert size(count) == text


def test_a_lookup_takes_parts_of_a_millisecond() -> None:
    assert duration_short(0.00042, EN) == "0.4 ms"
    assert duration_short(0.042, EN) == "42 ms"


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    chat = Chat(tmp_path)
    yield chat
    await chat.close()


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "example.com"}, False),
        ({"share": True}, False),
    ],
)
async def test_only_this_machine_may_clear_the_cache(
    chat: Chat, changes: dict[str, object], there: bool
) -> None:
    settings = Settings(**(chat.settings.model_dump() | changes))
    page = build_page(chat.service, settings)
    ids = {getattr(block, "elem_id", None) for block in page.blocks.blocks.values()}
    assert ("clear-cache" in ids) is there


async def test_nothing_of_the_page_is_a_public_route(chat: Chat) -> None:
    page = build_page(chat.service, chat.settings)
    assert {fn.api_visibility for fn in page.blocks.fns.values()} == {"private"}


async def test_only_streams_and_the_end_of_a_page_are_queued(chat: Chat) -> None:
    page = build_page(chat.service, chat.settings)
    queued = [fn for fn in page.blocks.fns.values() if fn.queue is not False]
    assert [fn.name for fn in queued] == ["stream", "leave"]
    assert queued[0].concurrency_limit is None


async def test_thumbnails_and_examples_may_be_read_and_originals_may_not(chat: Chat) -> None:
    page = build_page(chat.service, chat.settings)
    directory = chat.settings.directory
    assert page.launch_options["allowed_paths"] == [
        str(directory / "media" / "thumbnails"),
        str(directory / "examples"),
    ]
    assert isinstance(page.blocks, gr.Blocks)


async def test_the_panel_draws_only_what_changed(chat: Chat) -> None:
    with gr.Blocks():
        panel = CacheTab(chat.service, static_labels(), may_clear=False)
    await chat.ask("one")
    _, _, seen = panel.look(None, visitor())
    _, drawn, seen = panel.look(seen, visitor())  # the bars once more, on the right axis
    assert drawn != gr.skip()
    assert panel.look(seen, visitor()) == (gr.skip(),) * 3
    await chat.ask("one")
    text, drawn, _ = panel.look(seen, visitor())
    assert "50%" in text
    assert drawn != gr.skip()
