"""Polite words at the ends of a question, in both languages.

Anchored: "Does the sign say thanks?" and 请柬 (an invitation) are not polite. A bare opener needs
what a request goes on with, a closer needs a space or a mark before it.
"""

from __future__ import annotations

import re

_PAUSE = r"(?: \s*[,，。!:：;；~～—]+ | [.–-]+(?=\s) )\s*"  # hi-fi is one word
_HELLO = r"(?:hi|hello|hey)(?:\ there)?|good\ (?:morning|afternoon|evening|day)"
_HELLO_ZH = r"你好啊?|您好|嗨|哈[喽啰]"
_TELL_ME_ZH = r"(?:请|請)(?:你|您)?(?:告诉我|告訴我)"
_MAY_I_ASK = r"(?:请|請|麻[烦煩](?:你|您)?(?:请|請)?)[问問](?:一下|下)?"
# what 请 and 麻烦 ask for; 请柬, 请假条, 麻烦的人, 请用餐 are no requests
_REQUEST_ZH = (
    r"描述|描[写寫]|形容|[说說](?!客)|告[诉訴]|解[释釋]|[识識][别別]|分析|列(?![车車席])"
    r"|[数數](?![学學据據字码碼])|翻[译譯]|判[断斷]|指出|介[绍紹]|[总總][结結]|概括|回答|[写寫](?:出|一)"
    r"|看(?![护護守管])|[帮幫](?!工)|用(?![餐茶户戶人工品])|把(?![手柄])|根[据據]|[详詳][细細]|[简簡](?:[单單短]|要)"
    r"|仔[细細]|找|比[较較]|[给給]|[读讀]出|提取|[选選]|估[计計]|[计計]算"
)
_OPENER = re.compile(
    rf"""(?: (?:{_HELLO}) {_PAUSE}
    | (?:please|pls) (?: ,?\s+tell\s+me {_PAUSE} | {_PAUSE} | \s+ )
    | (?:{_HELLO_ZH}) (?: {_PAUSE} | \s+ )
    | (?:{_TELL_ME_ZH}|麻[烦煩](?:你|您)?|请|請) {_PAUSE}
    | (?:{_MAY_I_ASK}) (?: {_PAUSE} )?
    | (?: 麻[烦煩](?:你|您)? | (?:请|請)(?:你|您)? ) \s* (?={_REQUEST_ZH}) )\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_MUCH = r"(?:\ (?:a\ lot|(?:very|so)\ much))?"
_THANKS = rf"thanks{_MUCH}|thank\ you{_MUCH}|thx|(?:谢谢|謝謝)[你您啦了]?|多[谢謝]|拜[托託]了?"
_CLOSER = re.compile(
    rf"(?P<pause> \s*[,，.。?!;；~～]+\s* | \s+ ) (?: please|pls|{_THANKS} ) $",
    re.VERBOSE | re.IGNORECASE,
)
# with no mark in between, "thanks" may be what is said, written or shown
_SAYING = re.compile(
    r"(?:\b(?:sa(?:y|ys|id|ying)|read(?:s|ing)?|spell(?:s|ed|ing)?|writ(?:e|es|ten|ing)|words?"
    r"|mean(?:s|ing)?|call(?:s|ed)?|named|sign|texts?|letters?|label(?:s|l?ed)?|prints?|printed"
    r"|ha(?:s|ve|d)|shows?|an?|the|or|and|not|no|yes|of|for|to|with|without|as|is|are|was|were|be"
    r"|does|do|did|about|in|than|like)"
    r"|[说說写寫是叫字念读讀着喊道印刻有和或])$",
    re.IGNORECASE,
)
_SAYING_ZH = re.compile(r"[说說写寫喊道]着?$")
_LONGEST_CLOSER = 40  # characters, with what stands before it; keeps the searches short


def without_opener(text: str) -> str:
    """Please, what is this -> what is this."""
    found = _OPENER.match(text)
    return text[found.end() :] if found else text


def without_closer(text: str) -> str:
    """What is this? Thanks -> What is this"""
    found = _CLOSER.search(text, max(0, len(text) - _LONGEST_CLOSER))
    if found is None:
        return text
    rest, pause = text[: found.start()], found["pause"].strip()
    if pause in ("", ",", "，", ";", "；"):
        saying = _SAYING if not pause else _SAYING_ZH  # 她说，谢谢
        if saying.search(rest[-_LONGEST_CLOSER:]):
            return text
    return rest
