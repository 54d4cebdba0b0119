"""The cache panel: what the cache did for everybody, looked after only while it is seen."""

from __future__ import annotations

import html
import math
from dataclasses import replace
from typing import Any

import gradio as gr
import pandas as pd  # type: ignore[import-untyped]

from qwen_ui.chat import ChatService
from qwen_ui.errors import StoreFailed
from qwen_ui.types import CacheStats
from qwen_ui.ui.badge import duration
from qwen_ui.ui.i18n import Texts, texts_for
from qwen_ui.ui.parts import AT_ONCE

_LOOK_EVERY_S = 2.0
_WATCHING = "() => [window.qwen_ui.watching()]"

Seen = tuple[CacheStats, int]  # what the panel shows, and the top of its plot


class CacheTab:
    """Figures, a plot of the last hour, and the way to clear the cache where that is allowed."""

    def __init__(self, service: ChatService, label: gr.I18n, *, may_clear: bool) -> None:
        self._service = service
        self._may_clear = may_clear
        self._figures = gr.HTML(elem_id="cache-figures")
        self._plot = gr.BarPlot(
            elem_id="cache-plot",
            x="minute",
            y="count",
            color="kind",
            x_title=" ",
            y_title=" ",
            x_lim=[-59.5, 0.5],
            colors_in_legend=[],
            height=150,
            label=label("cache.plot"),
            show_label=False,
            container=False,
            buttons=[],
        )
        self._seen = gr.State(None)
        self._timer = gr.Timer(_LOOK_EVERY_S, active=False)
        self._watching = gr.Checkbox(visible="hidden")
        self._watch = gr.Button(elem_id="watch-cache", visible="hidden")
        if may_clear:
            self._build_clear(label)

    def _build_clear(self, label: gr.I18n) -> None:
        self._clear = gr.Button(
            label("cache.clear"), elem_id="clear-cache", size="sm", variant="secondary"
        )
        with gr.Group(visible=False, elem_id="clear-confirm") as self._confirm:
            gr.Markdown(label("cache.clear_question"))
            with gr.Row():
                self._no = gr.Button(label("cache.clear_no"), size="sm", min_width=0)
                self._yes = gr.Button(
                    label("cache.clear_yes"),
                    elem_id="clear-yes",
                    size="sm",
                    variant="stop",
                    min_width=0,
                )

    def connect(self, blocks: gr.Blocks) -> None:
        shown = [self._figures, self._plot, self._seen]
        self._timer.tick(self.look, self._seen, shown, **AT_ONCE)
        gr.on(
            [blocks.load, self._watch.click],
            lambda watching: gr.Timer(active=watching),
            self._watching,
            self._timer,
            js=_WATCHING,
            **AT_ONCE,
        )
        blocks.load(self.look, self._seen, shown, **AT_ONCE)
        if self._may_clear:
            asked = [self._clear, self._confirm]
            self._clear.click(lambda: _confirming(True), None, asked, **AT_ONCE)
            self._no.click(lambda: _confirming(False), None, asked, **AT_ONCE)
            self._yes.click(self.clear, self._seen, [*asked, *shown], **AT_ONCE)

    def look(self, seen: Seen | None, request: gr.Request) -> tuple[Any, Any, Any]:
        """The panel anew; nothing is redrawn that did not change."""
        stats, say = self._service.stats(), texts_for(request)
        top = highest(stats)
        if seen == (stats, top):
            return gr.skip(), gr.skip(), gr.skip()
        if seen is None or seen[1] != top:
            # Gradio draws the old bars on a new axis: forget them, so that they are drawn once more
            return figures(stats, say), plot(stats, say), (replace(stats, series=()), top)
        same = seen[0].series == stats.series
        return figures(stats, say), gr.skip() if same else plot(stats, say), (stats, top)

    def clear(self, seen: Seen | None, request: gr.Request) -> tuple[Any, ...]:
        try:
            self._service.clear_cache()
        except StoreFailed as error:
            gr.Warning(texts_for(request).error(error))
        return (*_confirming(False), *self.look(seen, request))


def _confirming(asking: bool) -> tuple[gr.Button, gr.Group]:
    return gr.Button(visible=not asking), gr.Group(visible=asking)


Row = tuple[str, str, str]  # key of the name, value, detail


def figures(stats: CacheStats, say: Texts) -> str:
    """HTML of the figures."""
    told = "".join(
        f"<dt>{html.escape(say(key))}</dt><dd>{html.escape(value)}</dd>"
        + (f'<dd class="detail">{html.escape(detail)}</dd>' if detail else "")
        for key, value, detail in [*_outcomes(stats, say), *_holdings(stats, say)]
    )
    title, rate = html.escape(say("cache.title")), html.escape(say("cache.hit_rate"))
    return (
        f'<h3>{title}</h3><div class="rate"><b>{stats.hit_rate:.0%}</b> {rate}</div>'
        f"<dl>{told}</dl><h4>{html.escape(say('cache.plot'))}</h4>"
    )


def _outcomes(stats: CacheStats, say: Texts) -> list[Row]:
    tiers = say("cache.hits_tiers", memory=stats.hits_l1, disk=stats.hits_l2)
    if stats.equivalent:
        tiers += " · " + say("cache.hits_equivalent", count=stats.equivalent)
    rows = [("cache.hits", f"{stats.hits}", tiers)]
    if stats.collapsed:
        rows.append(("cache.collapsed", f"{stats.collapsed}", ""))
    return [
        *rows,
        ("cache.misses", f"{stats.misses}", ""),
        ("cache.saved", duration(stats.saved_s, say) if stats.saved_s else "–", ""),
        ("cache.saved_busy", duration(stats.saved_busy_s, say) if stats.saved_busy_s else "–", ""),
    ]


def _holdings(stats: CacheStats, say: Texts) -> list[Row]:
    p50, p95 = duration_short(stats.lookup_p50_s, say), duration_short(stats.lookup_p95_s, say)
    sizes = say("cache.bytes", memory=size(stats.memory_bytes), disk=size(stats.stored_bytes))
    rows = [
        ("cache.entries", f"{stats.entries}", sizes),
        ("cache.lookup", say("cache.lookup_values", p50=p50, p95=p95), ""),
        ("cache.audited", f"{stats.audited}", _verdict(stats, say)),
    ]
    if stats.audited_remote:
        drift = say("cache.drift_values", drifted=stats.drifted, audited=stats.audited_remote)
        rows.append(("cache.drift", drift, ""))
    return rows


def _verdict(stats: CacheStats, say: Texts) -> str:
    if not stats.audited:
        return ""
    bound = percent_up(stats.mismatch_bound)
    return say("cache.audit_verdict", mismatched=stats.mismatched, bound=bound)


def percent_up(share: float) -> str:
    """A bound in percent, to two digits, rounded away from zero: it stays a bound."""
    percent = share * 100
    digits = 1 - math.floor(math.log10(percent)) if percent else 0
    return f"{math.ceil(percent * 10**digits - 1e-9) / 10**digits:.{max(digits, 0)}f} %"


def plot(stats: CacheStats, say: Texts) -> gr.BarPlot:
    """Hits and misses per minute over the last hour."""
    newest = max((point.start for point in stats.series), default=0.0)
    rows = [
        {"minute": int((point.start - newest) // 60), "count": count, "kind": kind}
        for point in stats.series
        for kind, count in (
            (say("cache.plot_hits"), point.hits),
            (say("cache.plot_misses"), point.misses),
        )
    ]
    colours = {say("cache.plot_hits"): "#10a37f", say("cache.plot_misses"): "#b8bec9"}
    return gr.BarPlot(
        pd.DataFrame(rows, columns=["minute", "count", "kind"]),
        y_lim=[0, highest(stats)],
        color_map=colours,
    )


def highest(stats: CacheStats) -> int:
    """The top of the plot, in steps: 4, 8, 16, ..."""
    most = max((point.hits + point.misses for point in stats.series), default=0)
    return max(4, 1 << (most - 1).bit_length())


def duration_short(seconds: float, say: Texts) -> str:
    """Like `duration`, but a lookup takes parts of a millisecond."""
    if seconds < 0.00995:
        return say("badge.milliseconds", value=f"{seconds * 1000:.1f}")
    return duration(seconds, say)


def size(count: int) -> str:
    """Bytes as a person reads them."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
