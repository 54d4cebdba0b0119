"""The quiet line under an answer: what the cache did, how long it took, why it ended."""

from __future__ import annotations

from qwen_ui.types import CacheStatus, FinishReason, Match, Usage
from qwen_ui.ui.conversation import Turn, TurnState
from qwen_ui.ui.i18n import Texts
from qwen_ui.ui.typed import as_typed


def badge(turn: Turn, say: Texts) -> str:
    """HTML of the badge; empty while the answer runs."""
    parts = _parts(turn, say)
    if not parts:
        return ""
    hit = turn.cache is not None and turn.cache.hit
    kind = "hit" if hit else turn.state.value
    tip, line = as_typed(_tooltip(turn, say)), as_typed(" · ".join(parts))
    return f'<div class="badge {kind}" title="{tip}">{line}</div>'


def duration(seconds: float, say: Texts) -> str:
    """Rounded to what a person reads: 3 ms, 2.4 s, 5 min, 7 h."""
    if seconds < 0.9995:
        return say("badge.milliseconds", value=max(1, round(seconds * 1000)))
    if seconds < 99.5:
        return say("badge.seconds", value=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    if seconds < 5400:
        return say("badge.minutes", value=round(seconds / 60))
    return say("badge.hours", value=round(seconds / 3600))


def _parts(turn: Turn, say: Texts) -> list[str]:
    if turn.running or turn.state is TurnState.FAILED:
        return []
    if turn.cache is not None and turn.cache.hit:
        parts = [_served(turn.cache, say), duration(turn.cache.lookup_s, say)]
        if turn.usage is not None and turn.usage.saved_s > 0:
            parts.append(say("badge.saved", time=duration(turn.usage.saved_s, say)))
    else:
        parts = _measured(turn.usage, say)
    if turn.cache is not None and turn.cache.collapsed:
        parts.append(say("badge.collapsed"))
    return parts + _ending(turn, say)


def _served(cache: CacheStatus, say: Texts) -> str:
    """That it is from the cache; of an equivalent hit also what was asked then."""
    if cache.match is not Match.EQUIVALENT:
        return say("badge.cached")
    asked = " ".join(cache.asked.split())
    return say("badge.equivalent", question=asked if len(asked) <= 60 else asked[:59] + "…")


def _measured(usage: Usage | None, say: Texts) -> list[str]:
    if usage is None:
        return []
    parts = [duration(usage.elapsed_s, say)]
    decoding_s = usage.elapsed_s - usage.first_token_s
    if usage.completion_tokens > 1 and decoding_s > 0:
        rate = (usage.completion_tokens - 1) / decoding_s
        parts.append(say("badge.speed", rate=f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"))
    if usage.known_pictures:
        parts.append(say("badge.picture_known"))
    return parts


def _ending(turn: Turn, say: Texts) -> list[str]:
    match turn.finish:
        case FinishReason.CANCELLED:
            return [say("badge.stopped")]
        case FinishReason.LENGTH:
            tokens = turn.usage.completion_tokens if turn.usage else 0
            return [say("badge.cut", tokens=tokens)]
        case FinishReason.CONTEXT:
            return [say("badge.context")]
        case FinishReason.STOP | None:
            return []


def _tooltip(turn: Turn, say: Texts) -> str:
    if turn.cache is not None and turn.cache.hit:
        tier = say(f"badge.tip_{turn.cache.tier}") if turn.cache.tier else ""
        age = duration(turn.cache.age_s or 0.0, say)
        told = say("badge.tip_hit", tier=tier, age=age, key=turn.cache.key)
        if turn.cache.match is not Match.EQUIVALENT:
            return told
        return f"{say('badge.tip_equivalent', question=turn.cache.asked)} {told}"
    usage = turn.usage
    parts = [] if usage is None else [
        say(
            "badge.tip_miss",
            prompt=usage.prompt_tokens,
            completion=usage.completion_tokens,
            first=duration(usage.first_token_s, say),
        )
    ]  # fmt: skip
    if usage is not None and usage.cached_tokens:
        parts.append(say("badge.tip_known", known=usage.cached_tokens))
    if turn.cache is not None and turn.cache.fwd == "bypass":
        parts.append(say("badge.tip_bypass"))
    return " ".join([*parts, _kept(turn.stored, say)])


def _kept(stored: CacheStatus | None, say: Texts) -> str:
    if stored is None:
        return say("badge.tip_not_stored")
    return say("badge.tip_stored", ttl=duration(stored.ttl_s or 0.0, say), key=stored.key)
