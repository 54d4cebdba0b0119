"""The composition root: everything is wired here, once, and launched."""

from __future__ import annotations

import logging
import os
import signal
import threading
from dataclasses import dataclass
from types import FrameType

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio builds a data frame of all events after each one; see that it seldom does.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

import gradio as gr

from cache_store.cache import open_cache
from cache_store.types import CachePolicy
from qwen_ui.chat import ChatService
from qwen_ui.engines.catalog import model_sources
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.images import ImageOpener
from qwen_ui.media import MediaStore
from qwen_ui.settings import Settings
from qwen_ui.ui.app import build_page

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """A launched page and what stands behind it."""

    service: ChatService
    page: gr.Blocks
    url: str

    def close(self, grace_s: float = 5.0) -> None:
        """Let running answers finish, write everything down, release the port."""
        self.service.close(grace_s)
        self.page.close(verbose=False)


def build_service(settings: Settings, registry: EngineRegistry | None = None) -> ChatService:
    """The service of these settings; tests bring a registry of their own."""
    directory = settings.directory
    policy = CachePolicy(
        settings.cache_ttl_s, settings.memory_max_bytes, settings.cache_max_bytes
    )
    cache = open_cache(directory, policy)
    media = MediaStore(directory / "media", settings.media_max_bytes, settings.media_ttl_s)
    images = ImageOpener(
        cache.memo,
        media,
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_image_pixels,
    )
    registry = registry or EngineRegistry(model_sources(settings), settings.keep_loaded)
    return ChatService(cache, registry, images, settings)
