"""The composition root: everything is wired here, once, and launched."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio builds a data frame of all its events after each one: see to it that it seldom does.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

import gradio as gr

from cache_store.cache import open_cache
from cache_store.types import CachePolicy
from qwen_ui.api import ops
from qwen_ui.chat import ChatService
from qwen_ui.engines.registry import EngineRegistry
from qwen_ui.images import ImageOpener
from qwen_ui.logins import read_logins
from qwen_ui.media import MediaStore
from qwen_ui.settings import Settings
from qwen_ui.ui.app import build_page
from qwen_ui.uploads import Uploads
from qwen_ui.videos import VideoOpener, video_limits
from qwen_ui.visibility import open_visibility

log = logging.getLogger(__name__)

_UPLOADS = "GRADIO_TEMP_DIR"


@dataclass(frozen=True)
class Server:
    """A launched page and what stands behind it."""

    service: ChatService
    blocks: gr.Blocks
    url: str
    share_url: str | None
    uploads: str | None  # a folder of this program's own

    def close(self, grace_s: float = 5.0) -> None:
        """Let running answers finish for `grace_s`, write everything down, release the port."""
        self.service.close(grace_s)
        self.blocks.close(verbose=False)
        if self.uploads is not None:
            del os.environ[_UPLOADS]
            shutil.rmtree(self.uploads, ignore_errors=True)


def build_service(settings: Settings, registry: EngineRegistry | None = None) -> ChatService:
    """The service of these settings; tests bring a registry of their own.

    Raises OSError, and cache_store's UnknownStore for a `cache_store` that is none.
    """
    directory = settings.directory
    policy = CachePolicy(
        ttl_s=settings.cache_ttl_s,
        memory_max_bytes=settings.memory_max_bytes,
        disk_max_bytes=settings.cache_max_bytes,
        ttl_now_s=settings.cache_ttl_now_s,
    )
    cache = open_cache(directory, policy, settings.cache_store)
    media = MediaStore(directory / "media", settings.media_max_bytes, settings.media_ttl_s)
    images = ImageOpener(
        cache.memo,
        media,
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_image_pixels,
    )
    videos = VideoOpener(cache.videos, media, video_limits(settings))
    registry = registry or _registry(settings)
    visibility = open_visibility(settings.visibility, directory)
    uploads = Uploads(media, images, videos)
    return ChatService(cache, registry, uploads, settings, visibility)


def _registry(settings: Settings) -> EngineRegistry:
    # torch only now: a directory that cannot be written to is told without it
    from qwen_ui.engines.catalog import model_sources

    return EngineRegistry(model_sources(settings), settings.keep_loaded)


def launch(settings: Settings, service: ChatService | None = None) -> Server:
    """Serve the page; returns as soon as it can be opened, while the model still loads.

    Raises OSError when the port is taken, logins.BadLogins.
    """
    logins = read_logins(settings.logins) if settings.logins else None
    service = service or build_service(settings)
    uploads = _own_uploads()
    page = build_page(service, settings)
    _, url, share_url = page.blocks.queue(default_concurrency_limit=None).launch(
        server_name=_host(settings),
        server_port=settings.port or _free_port(),
        share=settings.share,
        root_path=settings.root_path or None,
        auth=logins,
        max_file_size=settings.max_upload_bytes,
        prevent_thread_lock=True,
        quiet=True,
        app_kwargs={"routes": ops.routes(service)},
        **page.launch_options,
    )
    # not before the port is ours: an exit while a thread loads, in native code, can crash
    service.warm()
    return Server(service, page.blocks, url, share_url, uploads)


def _own_uploads() -> str | None:
    """Where Gradio shall keep uploads, unless the operator said where. It calls them by their bytes
    and removes those of a page that closes: in a folder that two programs share, one would lose
    the picture that the other still shows."""
    if _UPLOADS in os.environ:
        return None
    os.environ[_UPLOADS] = tempfile.mkdtemp(prefix="qwen-ui-uploads-")
    return os.environ[_UPLOADS]


def _host(settings: Settings) -> str:
    """A Space tells by an environment variable of Gradio's where to listen."""
    if "host" in settings.model_fields_set:
        return settings.host
    return os.environ.get("GRADIO_SERVER_NAME", settings.host)


def _free_port() -> int:
    """Gradio cannot listen on port 0 itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
