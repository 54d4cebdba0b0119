"""The page: chat, model picker and cache panel, and how Gradio is to serve them."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from qwen_ui.chat import ChatService
from qwen_ui.settings import Settings
from qwen_ui.ui.cache_tab import CacheTab
from qwen_ui.ui.chat_tab import build_chat, connect_chat, connect_examples
from qwen_ui.ui.examples import Example, draw_examples
from qwen_ui.ui.handlers import ChatHandlers
from qwen_ui.ui.i18n import static_labels
from qwen_ui.ui.model_picker import ModelPicker

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
# Gradio's own copies of uploads: looked through every hour, gone after a day (seconds)
_UPLOADS = (3600, 86_400)
# the visitor's own fonts: nothing is fetched, and Chinese looks as it does elsewhere on the machine
_FONTS = (
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)


@dataclass(frozen=True)
class Page:
    """What to launch, and with which of `launch`'s options."""

    blocks: gr.Blocks
    launch_options: dict[str, Any]


def build_page(service: ChatService, settings: Settings) -> Page:
    """The page over this service; draws the examples into the cache directory."""
    label = static_labels()
    handlers = ChatHandlers(service, settings)
    with gr.Blocks(
        title="Qwen3-VL chat",
        fill_width=True,
        fill_height=True,
        delete_cache=_UPLOADS,
    ) as blocks:
        with gr.Row(elem_id="head"):
            gr.HTML("<h1>Qwen3-VL</h1>", elem_id="title")
            picker = ModelPicker(service, label)
            new_chat = gr.Button(label("app.new_chat"), elem_id="new-chat", size="sm", min_width=0)
            gr.Button(label("app.cache"), elem_id="panel-button", size="sm", min_width=0)
        with gr.Row(elem_id="main"):
            with gr.Column(elem_id="talk", min_width=0):
                tab = build_chat(label, picker.demo_note)
            with gr.Column(elem_id="panel", min_width=0):
                panel = CacheTab(service, label, may_clear=_only_ours(settings))
        connect_chat(tab, handlers, picker.choice, new_chat)
        connect_examples(tab, blocks, _examples(settings))
        picker.connect()
        panel.connect(blocks)
        blocks.unload(handlers.leave)
    return Page(blocks, _launch_options(settings, label))


def _launch_options(settings: Settings, label: gr.I18n) -> dict[str, Any]:
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    directory = settings.directory
    return {
        "theme": gr.themes.Default(primary_hue="emerald", neutral_hue="slate", font=_FONTS),
        # not as `css`: Gradio would put a class of its own before each rule, `body` included
        "head": f"<style>{style}</style><script>{script}</script>",
        "i18n": label,
        "allowed_paths": [str(directory / "media" / "thumbnails"), str(directory / "examples")],
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }


def _examples(settings: Settings) -> Sequence[Example]:
    try:
        return draw_examples(settings.directory / "examples")
    except OSError as error:
        log.warning("no examples: %s", error)
        return ()


def _only_ours(settings: Settings) -> bool:
    """Nobody but this machine can reach the page: whoever sees it may clear the cache."""
    if settings.share:
        return False
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return settings.host == "localhost"
