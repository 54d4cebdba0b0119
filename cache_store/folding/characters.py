"""Characters that look or mean the same."""

from __future__ import annotations

import re
import unicodedata

# 2³ is not 23, ½ is not 1/2 beside a digit, ① is a label, and ℝ and R are two things in a formula
_MEANS_MORE = ("<super>", "<sub>", "<fraction>", "<circle>", "<font>")
_VARIANTS = range(0x3D0, 0x400)  # ϵ and ε, ϕ and φ: formulas use both
# invisible times, separator and plus stand for something: x⁢y
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060\u2061\u2065-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(
    "(\U0001f3f4[\U000e0020-\U000e007f]+)"  # the flags of England, Scotland, Wales
    f"|[{_IGNORABLE}]+"
)
# joiners shape emoji and the scripts between Hebrew and Mongolian; elsewhere they do nothing
_JOINERS = re.compile("(?<![\u0590-\u1cff\u2600-\u27bf\U0001f000-\U0001faff])[\u200c\u200d]+")


class _Compatible(dict[int, str]):
    """A table for str.translate, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _plain(chr(code))
        return plain


def _plain(char: str) -> str:
    """NFKC of one character, step by step, but for what means more than its parts."""
    kind, _, codes = unicodedata.decomposition(char).partition(" ")
    if not kind.startswith("<") or kind in _MEANS_MORE or ord(char) in _VARIANTS:
        return char
    parts = [chr(int(code, 16)) for code in codes.split()]
    if parts[0] == " " and len(parts) > 1:  # a free-standing accent
        return char
    return "".join(map(_plain, parts))


_COMPATIBLE = _Compatible()


def wide_as_plain(text: str) -> str:
    """Full width, half width, ligatures, presentation forms: Ｗｈａｔ？ is What?.

    Not where two characters of the text would become one ("Is it ％ or %?").
    """
    if text.isascii():
        return text
    plain = text.translate(_COMPATIBLE)
    shown = set("".join(text.split()))
    forms = [(char, char.translate(_COMPATIBLE)) for char in shown]
    met = any(len(form) > 1 and form in text for char, form in forms if form != char)  # ﬁ and fi
    return text if met or len({form for _, form in forms}) < len(forms) else plain


def visible(text: str) -> str:
    """Without characters that show nothing, except where they hold emoji or letters together."""
    if text.isascii():
        return text
    return _JOINERS.sub("", _INVISIBLE.sub(lambda found: found[1] or "", text))


def composed(text: str) -> str:
    """NFC: é as one character."""
    return unicodedata.normalize("NFC", text)
