"""Words that turn a question into another one, English and Chinese, by what they are for.

Each table leads from a word to what it stands for, so that "two", "2" and "两" are one number.
Only suggestions read it: a word that is missing here costs a suggestion too many, no wrong answer.
"""

from __future__ import annotations


def _each(words: str) -> dict[str, str]:
    return {word: word for word in words.split()}


def _grouped(*groups: str) -> dict[str, str]:
    """Words of a group stand for its first."""
    return {word: group.split()[0] for group in groups for word in group.split()}


NUMBERS = _grouped(
    "0 zero 零 〇",
    "1 one 一",
    "2 two 二 两 兩",
    "3 three 三",
    "4 four 四",
    "5 five 五",
    "6 six 六",
    "7 seven 七",
    "8 eight 八",
    "9 nine 九",
    "10 ten 十",
    "11 eleven",
    "12 twelve",
    "100 hundred 百",
    "1000 thousand 千",
    "10000 万 萬",
    "1000000 million",
    "half 半",
    "1st first 第一",
    "2nd second 第二",
    "3rd third 第三",
    "4th fourth 第四",
    "last 最后",
    "once",
    "twice double",
)

NEGATIONS = _each(
    "not no never none nobody nothing nowhere neither nor without cannot hardly except"
    " 不 没 沒 没有 沒有 无 無 非 未 别 勿 莫 除了"
)

POLARITY = _each(
    "more less most least fewer fewest many much few little all any some every each both either"
    " only always sometimes often still already yet again also"
    " big bigger biggest small smaller smallest large larger largest tiny huge"
    " tall taller tallest short shorter shortest long longer longest high higher highest low lower"
    " lowest wide narrow thick thin deep shallow heavy light hot warm cold cool wet dry clean dirty"
    " open opened closed shut full empty on-off new old older oldest young younger youngest"
    " good better best bad worse worst true false correct incorrect wrong same different real fake"
    " happy sad safe dangerous easy hard early late fast slow alive dead begin start end stop"
    " man woman men women boy girl male female he she his her him day night before after"
    " indoors outdoors clockwise anticlockwise counterclockwise increase decrease rising falling"
    " yes no-one can could should must may might will would"
    " 最 更 较 多 少 大 小 高 低 长 短 粗 细 厚 薄 深 浅 快 慢 早 晚 新 旧 老 冷 热 干 湿 开 关"
    " 满 空 好 坏 真 假 对 错 同 男 女 先 后来 所有 全部 都 也 还 又 再 每 任何 一些 有些 胖 瘦"
    " 亮 暗 轻 重"
)

PLACES = {
    **_grouped(
        "above over",
        "below under underneath beneath",
        "beside alongside",
        "behind",
        "inside within",
        "left 左",
        "right 右",
        "top 顶",
        "bottom 底",
        "near close",
        "on onto",
        "in into",
    ),
    **_each(
        "up down upper lower front back outside out off between among middle center centre corner"
        " edge side next adjacent opposite around across through along against toward towards away"
        " far facing touching north south east west northern southern eastern western at by"
        " 上 下 前 后 里 外 内 中 东 南 西 北 旁 边 间 角 侧"
    ),
}

COLOURS = {
    **_grouped("grey gray 灰", "red 红 紅", "blue 蓝 藍", "green 绿 綠", "yellow 黄 黃"),
    **_grouped(
        "black 黑", "white 白", "brown 棕 褐", "purple violet 紫", "pink 粉", "orange 橙 橘"
    ),
    **_each("beige tan gold golden silver cyan teal maroon navy dark pale bright 金 银 青"),
}

ASKING = _grouped(
    "what which what's 什么 啥 甚么 哪个 哪些 哪",
    "who whom 谁",
    "whose",
    "where 哪里 哪儿 在哪",
    "when 何时",
    "why 为什么 为何",
    "how 怎么 怎样 如何",
    "number 多少 几",
)

# words of one meaning, so that they count as not exchanged
SAME = _grouped(
    "colour color colours colors 颜色",
    "picture image photo photograph 图 图片 照片 图像 画面",
    "person people 人",
    "describe 描述 介绍",
)

STOP = _each(
    "a an the is are was were be been being am do does did has have had having there here it its"
    " this that these those of to for and or with as from than then so if you i we they me my your"
    " them their please tell kind type hi hello thanks thank detail detailed"
    " 的 了 吗 嘛 呢 吧 啊 呀 是 有 在 这 那 个 张 只 条 位 着 和 与 及 或 把 被 给 我 你 您 请"
    " 它 他 她 们 否 能 会 可以 一个 这个 那个 这张 请问 你好 您好 谢谢 麻烦 麻烦问一下"
    " 一下 问 详细 仔细"
)

_TABLES = (NUMBERS, NEGATIONS, POLARITY, PLACES, COLOURS, ASKING, SAME, STOP)
ZH_PHRASES = frozenset(
    word for table in _TABLES for word in table if len(word) > 1 and "一" <= word[0] <= "鿿"
)
