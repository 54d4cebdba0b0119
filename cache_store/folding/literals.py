"""Code, paths, patterns and addresses without quotation marks, and what follows a colon.

They are set aside like quotations: README.md is not readme.md, and `[A-z]?` not `[a-z]`.
"""

from __future__ import annotations

import re

LITERAL = "\ufdd1"  # stands for one of them; Unicode reserves it for inside programs

_SIGN = (
    r"(?: [\\/_@*<>=|^{}\[\]~`&] | \$[A-Za-z] | %[A-Za-z] | \#\w | \w\# | :: | [A-Za-z0-9]:[A-Za-z]"
    r" | \w\( | [A-Za-z]\.\w | \w\.[A-Za-z] | [A-Za-z]{2}\+ | (?<![!-~])-{1,2}[A-Za-z]"
    r" | (?<!\w)\.[A-Za-z] | [A-Za-z][0-9]+[A-Za-z]*[A-Z] | [a-z][A-Z]+[0-9] | [A-Z][0-9]+[a-z]"
    r" | [a-z][A-Z](?![A-Za-z]) | \b[a-z]{2,}[A-Z] )"
)
_LITERAL = re.compile(
    rf"""(?: (?<=:\ ) \S.*$ | (?<=[\u3400-\u9fff]:) \S.*$   # what a colon announces, to the end
    | (?<![!-~]) (?=[!-~]*?{_SIGN}) [!-~]+? (?=[?!.,;:]*(?![!-~])) )""",
    re.VERBOSE,
)


def set_aside(text: str) -> tuple[str, list[str]]:
    """The text, one line, with LITERAL for each, and what stood there."""
    found: list[str] = []

    def keep(literal: re.Match[str]) -> str:
        found.append(literal[0])
        return LITERAL

    return _LITERAL.sub(keep, text), found
