"""The quiet line under an answer: what the cache did, how long it took, why it ended."""

from __future__ import annotations

from qwen_ui.events import RECORDED, CacheStatus, Usage
from qwen_ui.types import FinishReason, Match
from qwen_ui.ui.conversation import Turn, TurnState
from qwen_ui.ui.i18n import Texts
from qwen_ui.ui.typed import as_typed


def badge(turn: Turn, say: Texts, *, last: bool = False) -> str:
    """HTML of the badge; empty while the answer runs. What may be asked anew is the last turn."""
    parts = _parts(turn, say)
    if not parts:
        return ""
    hit = turn.cache is not None and turn.cache.hit
    kind = "hit" if hit else turn.state.value
    tip, line = as_typed(_tooltip(turn, say)), as_typed(" · ".join(parts))
    return f'<div class="badge {kind}" title="{tip}">{line}{_action(turn, say, last)}</div>'


def duration(seconds: float, say: Texts) -> str:
    """Rounded to what a person reads: 3 ms, 2.4 s, 5 min, 7 h."""
    if seconds < 0.9995:
        return say("badge.milliseconds", value=max(1, round(seconds * 1000)))
    if seconds < 99.5:
        return say("badge.seconds", value=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    if seconds < 5400:
        return say("badge.minutes", value=round(seconds / 60))
    return say("badge.hours", value=round(seconds / 3600))


def _action(turn: Turn, say: Texts, last: bool) -> str:
    """What can be done about it; `page.js` knows the buttons by their class, since Gradio removes
    attributes that HTML itself does not name."""
    if turn.cache is None:
        return ""
    if last and turn.cache.match is Match.EQUIVALENT:
        return _button("ask-model", say("badge.ask_model"))
    if turn.missed and turn.state is TurnState.DONE and turn.why is None:
        return _button("why", say("badge.why"), turn.id)
    return ""


def _button(kind: str, label: str, value: int | str = "") -> str:
    return f' · <button type="button" class="{kind}" value="{value}">{as_typed(label)}</button>'


def _parts(turn: Turn, say: Texts) -> list[str]:
    if turn.running or turn.state is TurnState.FAILED:
        return []
    if turn.cache is not None and turn.cache.hit:
        parts = [_served(turn.cache, say)]
        if turn.cache.detail == RECORDED:
            parts.append(say("badge.recorded"))
        parts.append(duration(turn.cache.lookup_s, say))
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
            return [say("badge.cut", tokens=tokens) if tokens else say("badge.cut_untold")]
        case FinishReason.CONTEXT:
            return [say("badge.context")]
        case FinishReason.THOUGHT:
            return [say("badge.thought")]
        case FinishReason.STOP | None:
            return []


def _tooltip(turn: Turn, say: Texts) -> str:
    if turn.cache is not None and turn.cache.hit:
        return _tooltip_of_hit(turn.cache, say)
    parts = [] if turn.usage is None else [_counted(turn.usage, say)]
    if turn.usage is not None and turn.usage.cached_tokens:
        parts.append(say("badge.tip_known", known=turn.usage.cached_tokens))
    if turn.cache is not None and turn.cache.fwd == "bypass":
        parts.append(say("badge.tip_bypass"))
    return " ".join([*parts, _kept(turn.stored, say)])


def _tooltip_of_hit(cache: CacheStatus, say: Texts) -> str:
    parts = []
    if cache.match is Match.EQUIVALENT:
        parts.append(say("badge.tip_equivalent", question=cache.asked))
    if cache.detail == RECORDED:
        parts.append(say("badge.tip_recorded"))
    tier = say(f"badge.tip_{cache.tier}") if cache.tier else ""
    age = duration(cache.age_s or 0.0, say)
    return " ".join([*parts, say("badge.tip_hit", tier=tier, age=age, key=cache.key)])


def _counted(usage: Usage, say: Texts) -> str:
    first = duration(usage.first_token_s, say)
    if not usage.completion_tokens:
        return say("badge.tip_miss_untold", first=first)
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return say("badge.tip_miss", prompt=prompt, completion=completion, first=first)


def _kept(stored: CacheStatus | None, say: Texts) -> str:
    if stored is None:
        return say("badge.tip_not_stored")
    return say("badge.tip_stored", ttl=duration(stored.ttl_s or 0.0, say), key=stored.key)
