"""The words of the answers, in both languages."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]

SHAPE_ZH = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "星形",
    "heart": "心形",
    "cross": "十字形",
}
COLOUR_ZH = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "black": "黑色",
    "white": "白色",
}
PLACE_ZH = {
    "top left": "左上角",
    "top": "上方",
    "top right": "右上角",
    "left": "左侧",
    "center": "中间",
    "right": "右侧",
    "bottom left": "左下角",
    "bottom": "下方",
    "bottom right": "右下角",
}
COUNT_EN = ("no", "one", "two", "three", "four", "five")
COUNT_ZH = ("零", "一", "两", "三", "四", "五")
DIRECTIONS = ("left", "right", "above", "below")
DIRECTION_EN = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}
DIRECTION_ZH = {"left": "左边", "right": "右边", "above": "上面", "below": "下面"}

REFUSAL: dict[Language, str] = {
    "en": "Sorry, I am a small demo model: I only know drawn shapes and numbers.",
    "zh": "抱歉，我是一个小型演示模型，只认识画出来的图形和数字。",
}


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def plural(shape: str) -> str:
    return shape + ("es" if shape.endswith("s") else "s")


def place_en(place: str) -> str:
    return (
        f"on the {place}"
        if place in ("left", "right")
        else ("in the center" if place == "center" else f"at the {place}")
    )


def listed(parts: list[str], language: Language) -> str:
    """a, b and c"""
    if len(parts) < 2:
        return "".join(parts)
    comma, last = (", ", " and ") if language == "en" else ("、", "和")
    return comma.join(parts[:-1]) + last + parts[-1]


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


# Everyday words and characters that have nothing to do with shapes.
_WORDS = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work government night
point home water room mother area money story fact month lot right study book eye job word
business issue side kind head house service friend father power hour game line end member law car
city community name team minute idea body back parent face others level office door health person
art war history party result change morning reason research girl guy moment air teacher force
education foot boy age policy music market sense nation plan college interest death experience
make know take see come think look want give use find tell ask seem feel try leave call good new
first last long great little own other old big high different small large next early young
important few public bad same able run walk eat drink sleep sing buy sell build read teach learn
quick lazy dog cat fish bird tree flower river mountain sea rain snow wind fire stone paper glass
table chair window phone computer internet photo film song dance king queen doctor police train
plane ship road street bridge garden kitchen bread cheese apple banana coffee tea sugar salt
"""
WORDS_EN = _WORDS.split()
HAN = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可"
    "她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同三已"
    "老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问"
    "力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却"
    "代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期"
    "叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特"
    "觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快"
)
