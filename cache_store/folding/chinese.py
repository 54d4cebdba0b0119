"""Chinese: traditional and simplified, spaces, and synonyms of "in the picture" and "what"."""

from __future__ import annotations

import re
from collections.abc import Callable

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}]) +(?=[{_HAN}])")
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff]")  # Japanese keeps its own forms

# questions about how something is written: there 髮 and 发 are two things
_ABOUT_WRITING = re.compile(
    r"拼音|笔[画划顺]|怎[么样]写|如何写|怎么[读念]|读音|注音|部首|偏旁|繁体|简体|异体|正体|字"
    r"|\b(?:characters?|pinyin|strokes?|radicals?|traditional|simplified)\b",
    re.IGNORECASE,
)
# words with 字 that name no character
_OTHER_WORDS = re.compile(r"文字|数字|名字|字母|字幕|十字|(?:什么|哪些|几个|写)字(?!体)")

_NOT_PICTURE = "地插截草蓝构拼附企意试版"  # 地图中 is "on the map"
_IN_PICTURE = re.compile(
    rf"(?<![{_NOT_PICTURE}])图[片像]?(?:中(?![间央心部国文学年性小型等午外东华医])"
    r"|里面?(?![间程屋侧边层头弄面条包粉孔具前积食部团料馆膜色容罩对]))"
)


# simplified forms of several words: 姜 is a name and 薑 is ginger. Alone, nothing says which
_SEVERAL = "后姜钟干谷斗丑面台发云余范松卷曲复历占周胡朴朱沈苏叶蒙郁于征御舍签谥霉辟"
_BESIDE = "的是和有在吗嗎么麼什甚谁誰还還或与與吧呢了到被把叫这這那呀啊"
_ALONE = re.compile(
    rf"(?:(?<![{_HAN}])|(?<=[{_BESIDE}]))[{_SEVERAL}](?:(?![{_HAN}])|(?=[{_BESIDE}]))"
)
_STANDARDS = ("s2t", "s2tw", "s2hk")


def _load() -> tuple[str, tuple[Callable[[str], str], ...]]:
    """OpenCC's version, and to simplified and back to each of the traditional standards."""
    try:
        import opencc
    except ImportError:
        return "none", ()
    names = ("t2s", *_STANDARDS)
    return str(opencc.__version__), tuple(opencc.OpenCC(name).convert for name in names)


OPENCC_VERSION, _conversions = _load()


def simplified(text: str) -> str:
    """Traditional to simplified, by OpenCC; nothing where it is not installed.

    Not in questions about writing, nor where two characters of the text would become one
    ("後 or 后?"), nor in Japanese. And only what leads back: of 鐘 and 鍾, both 钟, one stays.
    """
    if not _conversions or text.isascii() or _KANA.search(text):
        return text
    to_simplified, *back = _conversions
    converted = to_simplified(text)
    if converted == text or _is_about_writing(converted) or len(set(converted)) < len(set(text)):
        return text
    if _ALONE.search(converted) or len(converted) != len(text):
        return text
    forms = [convert(converted) for convert in back]
    if any(len(form) != len(text) for form in forms):
        return text
    leads_back = all(char in known for char, *known in zip(text, *forms, strict=True))
    return converted if leads_back else text


def unspaced(text: str) -> str:
    """Without spaces between Chinese characters."""
    return text if text.isascii() else _BETWEEN_HAN.sub("", text)


def synonyms(text: str) -> str:
    """图片里, 图中 -> 图像中; 啥 -> 什么."""
    if text.isascii() or _is_about_writing(text):
        return text
    if "什么" not in text and "方言" not in text:  # "啥和什么有什么不同"
        text = text.replace("啥", "什么")
    words = {*_IN_PICTURE.findall(text), *(["图像中"] if "图像中" in text else [])}
    return _IN_PICTURE.sub("图像中", text) if len(words) == 1 else text


def _is_about_writing(text: str) -> bool:
    return _ABOUT_WRITING.search(_OTHER_WORDS.sub("", text)) is not None
