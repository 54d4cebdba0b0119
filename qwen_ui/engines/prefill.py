"""From a prompt to a filled KV cache and the first logits, with whatever is known taken over.

The same chunks are computed after a hit and after a miss, one picture is encoded at a time, and
positions are always explicit: so nothing that is reused changes a bit of what follows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers import Cache

from qwen_ui.engines.chunks import ChunkRule, Cut
from qwen_ui.engines.feature_cache import FeatureCache
from qwen_ui.engines.features import Features, encode
from qwen_ui.engines.interrupt import StopSign, interruptible
from qwen_ui.engines.kv import Segment, copy_out, open_cache
from qwen_ui.engines.prefix_cache import PrefixCache
from qwen_ui.engines.processor import PictureProcessor
from qwen_ui.engines.prompt import PairKey, Prompt, Span
from qwen_ui.engines.short_chunks import ShortChunks
from qwen_ui.engines.video_input import VideoInput


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier requests left. A run goes on with the one that it began with, so what is put in
    its place meanwhile holds nothing from before."""

    features: FeatureCache
    prefixes: PrefixCache[Segment]


@dataclass(frozen=True, slots=True)
class Filled:
    """The whole prompt in a cache. `logits` [vocabulary] follow its last token.

    `cached_tokens` were taken over, not computed; of `known_pictures` at least the encoding was.
    """

    cache: Cache
    logits: torch.Tensor
    cached_tokens: int
    known_pictures: int


@dataclass(slots=True)
class Machine:
    """A model, and how its prompts are made and cut."""

    model: Any  # None once it was unloaded
    processor: PictureProcessor
    rule: ChunkRule
    video: VideoInput | None  # None: videos are pictures
    short_chunks: ShortChunks | None  # None: the model's own forward computes all


class Prefill:
    """One prompt on its way into a cache. `scope`: with whom it shares what it leaves."""

    def __init__(
        self, machine: Machine, prompt: Prompt, scope: str, known: Known, stop: StopSign
    ) -> None:
        self._machine = machine
        self._prompt = prompt
        self._scope = scope
        self._known = known
        self._stop = stop
        self._cuts = machine.rule.cuts(prompt.ids)
        places = [cut.end for cut in self._cuts if not cut.inside]
        self._steps = [prompt.step(*ends) for ends in pairwise([0, *places])]
        self._places = places
        self._cache: Cache
        self._start = 0  # what lies before is in the cache
        self._kept = 0  # how far it is known to all
        self._spent_s = 0.0  # since then
        self._known_pictures = 0
        self._encoded: tuple[Span, Features] | None = None

    def run(self) -> Filled:
        """The whole prompt. Raises interrupt.Stopped, errors.PictureGone."""
        length = self._prompt.length
        self._begin(length)
        cached_tokens = self._start
        with interruptible(self._machine.model, self._stop):
            for cut in self._cuts:
                if self._start < cut.end < length:
                    self._advance(cut)
            logits = self._last_chunk()
        return Filled(self._cache, logits, cached_tokens, self._known_pictures)

    def prepare(self) -> None:
        """Only what stands up to the end of the last picture, for those who ask next.

        Raises interrupt.Stopped, errors.PictureGone.
        """
        end = max((span.end for span in self._prompt.pictures), default=0) + 1
        self._begin(end + 1)
        with interruptible(self._machine.model, self._stop):
            for cut in self._cuts:
                if self._start < cut.end <= end:
                    self._advance(cut)

    def _begin(self, before: int) -> None:
        """Take over the longest known beginning that ends before this place: the last token must
        be computed, since its logits are wanted."""
        steps = [step for step, end in zip(self._steps, self._places, strict=True) if end < before]
        segments = self._known.prefixes.longest(self._scope, steps)
        self._start = self._kept = self._places[len(segments) - 1] if segments else 0
        self._known_pictures = sum(s.end <= self._start for s in self._prompt.pictures)
        layers = self._machine.model.model.language_model.layers
        self._cache = open_cache([next(layer.parameters()).device for layer in layers], segments)

    def _advance(self, cut: Cut) -> None:
        began = time.perf_counter()
        self._forward(cut.end)
        self._spent_s += time.perf_counter() - began
        if not cut.inside:
            self._keep(cut.end)

    def _last_chunk(self) -> torch.Tensor:
        began = time.perf_counter()
        end = self._prompt.length
        hidden = self._forward(end)
        logits: torch.Tensor = self._machine.model.lm_head(hidden[:, -1:])[0, -1]
        self._spent_s += time.perf_counter() - began
        if end in self._places:
            self._keep(end)
        return logits

    def _forward(self, end: int) -> torch.Tensor:
        """Compute the tokens up to `end`: what the last layer leaves of them [1, tokens, hidden],
        normed."""
        machine, start, device = self._machine, self._start, self._machine.model.device
        ids = torch.tensor([self._prompt.ids[start:end]], device=device)
        positions = self._prompt.position_ids[..., start:end].to(device)
        picture = self._picture(start, end)
        hidden: torch.Tensor
        short = machine.short_chunks
        if short is not None and not picture and short.take(start, end):
            hidden = short.forward(ids, positions[1:], self._cache, self._stop)
        else:
            hidden = machine.model.model(
                input_ids=ids,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                **picture,
            ).last_hidden_state
        self._start = end
        return hidden

    def _picture(self, start: int, end: int) -> dict[str, Any]:
        """What the chunk shows of a picture: of one at most, as a cut stands behind each."""
        for span in self._prompt.pictures:
            first, last = max(start, span.start), min(end, span.end)
            if first < last:
                device = self._machine.model.device
                part = self._features(span).part(first - span.start, last - span.start, device)
                kind = "video" if isinstance(span.key, PairKey) else "image"
                return {"mm_encoder_outputs": {kind: part}}
        return {}

    def _features(self, span: Span) -> Features:
        if self._encoded is None or self._encoded[0] is not span:
            self._encoded = span, self._looked_up_or_encoded(span)
        return self._encoded[1]

    def _looked_up_or_encoded(self, span: Span) -> Features:
        cache, scope = self._known.features, self._scope
        known = cache.get(scope, span.key)
        if known is not None:
            self._known_pictures += 1
            return known
        began = time.perf_counter()
        machine = self._machine
        features = encode(span, machine.processor, machine.model, machine.video)
        cache.add(scope, span.key, features, time.perf_counter() - began)
        return features

    def _keep(self, end: int) -> None:
        """Leave what was computed since the last such place to those who come after."""
        steps = self._steps[: self._places.index(end) + 1]
        segment = copy_out(self._cache, self._kept, end)
        self._known.prefixes.add(self._scope, steps, segment, self._spent_s)
        self._kept, self._spent_s = end, 0.0
