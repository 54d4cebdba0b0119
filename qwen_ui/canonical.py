"""A request in canonical form: what is hashed is what is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from itertools import zip_longest
from types import MappingProxyType

from cache_store.questions import canonical
from cache_store.types import CacheQuery, ImagePart, MarkPart, Part, Scalar, TextPart, Turn
from qwen_ui.computation import THOUGHT_TOKENS
from qwen_ui.engines.base import EngineSpec, Sampling
from qwen_ui.errors import BadRequest
from qwen_ui.settings import Settings
from qwen_ui.types import ChatRequest, Frame, Image, Message, SamplingParams


def cache_query(
    request: ChatRequest, spec: EngineSpec, settings: Settings, namespace: str
) -> CacheQuery:
    """What the key is made from: everything that the model of `spec` sees of a request."""
    asked = request.sampling
    thought_tokens = None
    if spec.thinking and not spec.remote:  # another server counts its thoughts itself
        given = asked.thought_tokens
        thought_tokens = settings.max_thought_tokens if given is None else given
    return CacheQuery(
        model=request.model,
        fingerprint=spec.fingerprint(),
        turns=tuple(_turn(message) for message in request.messages),
        sampling=_effective(asked, spec.sampling, thought_tokens),
        max_tokens=settings.max_tokens if asked.max_tokens is None else asked.max_tokens,
        namespace=namespace,
    )


def canonical_message(message: Message) -> Message:
    """Neighbouring texts stay apart: their order and borders are what the model sees.

    Raises errors.BadRequest.
    """
    parts = (canonical(p) if isinstance(p, str) else p for p in message.parts)
    kept = tuple(part for part in parts if part != "")
    for part in kept:
        if isinstance(part, str):
            _check_unicode(part)
    return Message(message.role, kept)


def check_sampling(asked: SamplingParams) -> None:
    """Raises errors.BadRequest. Written so that NaN fails too."""
    for name, value, least, most in (
        ("max_tokens", asked.max_tokens, 1, math.inf),
        ("thought_tokens", asked.thought_tokens, 0, math.inf),
        ("temperature", asked.temperature, 0, 2),
        ("top_p", asked.top_p, 0.001, 1),
        ("top_k", asked.top_k, 0, math.inf),
        ("seed", asked.seed, 0, 2**63 - 1),
    ):
        whole = name in ("max_tokens", "thought_tokens", "top_k", "seed")
        if whole and not isinstance(value, int | None):
            raise BadRequest(f"{name} must be a whole number.")
        if value is not None and not least <= value <= most:
            limits = f"{least} or more" if most == math.inf else f"from {least} to {most}"
            raise BadRequest(f"{name} must be {limits}.")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(
            "The text holds half a character (a lone surrogate). Type it anew."
        ) from None


@lru_cache(maxsize=64)
def _effective(
    asked: SamplingParams, published: Sampling, thought_tokens: int | None
) -> Mapping[str, Scalar]:
    """The parameters for the key, every default filled in. Without a budget for thoughts the key
    is that of a model that has none."""
    parameters: dict[str, Scalar] = asdict(Sampling.resolve(asked, published))
    if thought_tokens is not None:
        parameters[THOUGHT_TOKENS] = thought_tokens
    return MappingProxyType(parameters)


def _turn(message: Message) -> Turn:
    parts = zip_longest(message.parts, message.parts[1:])
    return Turn(message.role, tuple(_part(part, following) for part, following in parts))


def _part(part: str | Image, following: str | Image | None) -> Part:
    if isinstance(part, Image):
        return ImagePart(part.digest)
    return MarkPart(_mark(part, following)) if isinstance(following, Frame) else TextPart(part)


def _mark(time: str, frame: Frame) -> str:
    """What a model may see of a frame beside its pixels: a time as it is written, but also the
    exact one, since two frames may be shown at the mean of theirs, and where a video begins."""
    return f"{time} {frame.at_s!r} #{frame.place}"
