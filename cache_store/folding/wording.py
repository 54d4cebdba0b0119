"""Questions about how something is worded: there every letter and mark may be the answer.

`fold` leaves them alone: "Spell Polish", "Translate: Hi!", "Is that comma full-width?". What the
picture holds ("translate the menu") is not in the text, so that much may fold.
"""

from __future__ import annotations

import re

_WHAT_IS_THERE = r"(?:the|this|that|these|those|all|any|it|everything|what|whatever)\b"
_SHOWN = r"is|are|was|were|on|in|at|of|that|which|does|do|under|over|above|below|near|next"
_SHOWN += r"|written|shown|printed|painted|displayed|to|and|or|for|from|with|behind|beside"
_ENGLISH = re.compile(
    rf"""\b(?: (?:mis)?spell(?:s|ed|ing|ings)? | (?:mis)?spelt | typos? | capitali[sz]\w* | capitals
    | capital\ letters? | (?:upper|lower|title|camel|snake)[\ -]?case\w* | case[\ -]sensitiv\w*
    | punctuat\w* | apostrophes? | commas? | hyphen\w* | semicolons? | full\ stops?
    | (?:question|exclamation|quotation|punctuation)\ (?:marks?|points?)
    | white\ ?space | (?:full|half)[\ -]?width | unicode | utf-?\d+ | ascii | code\ ?points?
    | pronounc\w* | pronunciation | transliterat\w* | proofread\w*
    | re(?:write|phrase|word)\w* | paraphras\w* | regex\w* | regular\ expressions? | globs?
    | wildcards? | urls? | hashtags? | (?:en|de)cod(?:e[ds]?|ing) | base64 | anagrams?
    | palindromes? | rhymes? | abbreviat\w* | how\ many\ spaces | double\ spaces? | spaces\ between
    | contractions? | passwords? | captchas? | which\ (?:one\ )?is\ (?:right|correct)
    | \w+['’](?:s|re|m|t)\ (?:mean|one\ word|or\b)
    | defin(?:e|ition) | I\ (?:just\ )?(?:ask|wr[io]t|typ|sa[iy])\w* | (?:big|small)\ letters?
    | my\ (?:question|message|text|sentence|prompt|greeting|words?) | letters?\ of
    | this\ (?:question|message|sentence|prompt) | (?:repeat|echo|reverse[ds]?|quote|verbatim)\b
    | translat(?:e|ion)\w* (?!\ {_WHAT_IS_THERE}) (?!\ of\ {_WHAT_IS_THERE}) \s*.
    | (?:the|this|that)\ (?:word|phrase|term|string|sentence|expression|name)
      (?: s\b | \ (?!(?:{_SHOWN})\b)\w )
    )
    | ^(?:please\s)?(?:copy|output|print|type|write|say|call)
      \ (?!(?:a|an|the|what|down|out|one|me|some|in|it|all|whether|if|everything|how)\b)""",
    re.VERBOSE | re.IGNORECASE,
)
_CHINESE = re.compile(
    r"怎[么麼样樣](?:[说說]|拼|[读讀]|念|翻)|如何(?:[说說]|[读讀]|念|拼)|拼[写寫]|[大小][写寫]|[标標][点點]|全角|半角"
    r"|空格|逗[号號]|句[号號]|[问問][号號]|[感惊驚][叹嘆歎]?[号號]|引[号號]|分[号號]|[错錯][别別]字|[语語]法|病句"
    r"|正[则則]|通配符|[网網]址|[编編][码碼]|字符|[转轉][写寫]|[译譯]音|音[译譯]|谐音|諧音|改[写寫]|[这這]句[话話]|我的[问問][题題]"
    r"|我[刚剛]?才?[说說写寫问問输輸]|重[复複]|[复複]述|照抄"
)
_TRANSLATE = re.compile(r"翻[译譯]")
_IN_PICTURE = re.compile(r"[图圖]|照片|截[屏幕]|文字|菜[单單]|牌|[标標]|文本|[内內]容|上面|[这這]")


def is_about_wording(text: str) -> bool:
    """Whether case, marks, spaces or script may be what is asked about."""
    if _ENGLISH.search(text):
        return True
    if text.isascii():
        return False
    if _CHINESE.search(text):
        return True
    return _TRANSLATE.search(text) is not None and not _IN_PICTURE.search(text)
