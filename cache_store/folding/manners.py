"""Polite words at the ends of a question, in both languages.

Anchored: "Does the sign say thanks?" and 请柬 (an invitation) are not polite. A bare opener needs
what a request goes on with, a closer needs a space or a mark before it.
"""

from __future__ import annotations

import re

_LANGUAGE = (
    r"(?:english|french|spanish|german|italian|portuguese|dutch|russian|polish|turkish|arabic|hindi"
    r"|latin|greek|chinese|mandarin|cantonese|japanese|korean|vietnamese|thai|hebrew|swedish)"
)
# what a request begins with in English; "Hello, Dolly" and "Hi, in Spanish?" are no greetings
_ASKS = (
    rf"(?!.*\b(?:greet|polite|formal|informal|slang|(?:in|to|into)\ {_LANGUAGE}\b"
    r"|(?:which|what)\ language\ (?:is|was)\ (?:that|this|it)\b"
    r"|what\ does\ (?:that|this|it)\ mean))"
    r"(?=(?:wh(?:at|ich|o|om|ose|ere|en|y)|how|is|are|was|were|do|does|did|can|could|will|would"
    r"|should|has|have|had|isn't|aren't|please|pls|tell|describe|count|list|show|find|identify"
    r"|explain|read|give|summari[sz]e|look|i|i'd|i'm|there|the|this|that|these|those|any|name"
    r"|what's|who's|where's|how's|there's|compare|extract|write|make|help|let|draw|you|my|we|a|an)\b"
    r"|[^\x00-\x7f]|(?:hi|hello|hey|good)\b)"
)
_PAUSE = r"(?: \s*[,，。!;；~～—]+ | [.–-]+(?=\s) )\s*"  # hi-fi is one word
_ANNOUNCED = rf"(?: {_PAUSE} | \s*[:：]\s* )"  # not after hello: "Hi: translate" asks about it
# 你好 是什么意思, 你好用法语怎么说: there it is what is asked about
_ASKED_ZH = (
    r"(?!是|的|[和跟与與或還还]|怎[么麼样樣]|用[^，。]{1,3}[语語文]|[英法德日韩韓中][语語文]"
    r"|[^，。]*意思)"
)
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
# "please is written where", 请看车的牌子在哪: the word is what is asked about
_NO_REQUEST = (
    r"(?!(?:or|and|vs|versus|in|on|at|to|for|as|of|by|means?|appears?|comes?|stands?|sounds?"
    r"|seems?|(?:is|was)\ (?:written|shown|said|printed|on|in|at|where|a\ word|the\ word))\b)"
)
_NO_SIGN_ZH = (
    r"(?!.*的(?:牌|[标標]|告示|字[样樣]|按[钮鈕键鍵]|卡|海[报報]|[横橫]幅)[^，。]*(?:在|是|有)"
    r"|回答1988)"
)
_OPENER = re.compile(
    rf"""(?: (?:{_HELLO}) {_PAUSE} {_ASKS}
    | (?:please|pls) (?: ,?\s+tell\s+me {_ANNOUNCED} | (?: {_PAUSE} | \s+ ) {_NO_REQUEST} )
    | (?:{_HELLO_ZH}) (?: {_PAUSE} | \s+ ) {_ASKED_ZH}
    | (?:{_TELL_ME_ZH}|麻[烦煩](?:你|您)?|请|請) {_ANNOUNCED}
    | (?:{_MAY_I_ASK}) (?: {_ANNOUNCED} )? (?![的和跟与與或])
    | (?: 麻[烦煩](?:你|您)? | (?:请|請)(?:你|您)? ) \s* (?={_REQUEST_ZH}) {_NO_SIGN_ZH} )\s*""",
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
    r"|does|do|did|about|in|than|like|use[ds]?|using|define|reply|answer|shout(?:s|ed)?)"
    r"|[说說写寫是叫字念读讀着喊道印刻有和或])$",
    re.IGNORECASE,
)
_SAYING_IT = re.compile(  # and with a comma too: she said, thanks
    r"(?:[说說写寫喊道印刻念读讀是叫]着?|回[答复復])$"
    r"|\b(?:sa(?:y|ys|id|ying)|read(?:s|ing)?|writ(?:e|es|ten|ing)|print(?:s|ed)?|spell(?:s|ed)?"
    r"|mean(?:s|t)?|reply|replie[sd]|answer(?:s|ed)?|respond(?:s|ed)?|shout(?:s|ed|ing)?"
    r"|call(?:s|ed)?|yes|no|and|or)$",
    re.IGNORECASE,
)
# with a space only, "thanks" needs the end of a question before it: 翻译 谢谢 has none
_ASKED = re.compile(r"[吗嗎么麼呢吧谁誰少样樣]$")
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
    if not pause and not text.lower().endswith(("please", "pls")):
        return rest if _ASKED.search(rest) else text
    if pause in ("", ",", "，", ";", "；"):
        saying = _SAYING if not pause else _SAYING_IT
        if saying.search(rest[-_LONGEST_CLOSER:]):
            return text
    return rest
