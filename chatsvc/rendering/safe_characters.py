"""Which characters a page may draw behind a rendered block before the next rendering has come.

A rendered block says up to which offset of the text it goes (PROTOCOL.md section 4). What follows there
and can mean nothing in Markdown looks as it is written, so a page draws it at once, at the end of the
block. Everything from the first other character on waits for the next rendering. The page has the same
rule in `static/safe-characters.js`.
"""

from __future__ import annotations

import regex

_TEXT = (
    r"[\p{L}\p{M}\p{N}\u200d,;'\")?%@+\-={}:>^]"
    r"|(?![\x00-\x7f])[\p{P}\p{S}]"
    r"|(?<![wW])\."
    r"|(?<![:/])/"
    r"|(?<!\])\("
    r"|!(?=[^\[])"
    r"|(?<![ \n]) (?=[^ \n])"
)

_CODE = r"[^\n`~\t\p{C}]|\u200d"

_text = regex.compile(rf"(?:{_TEXT})*+", regex.V1)

_code = regex.compile(rf"(?:{_CODE})*+", regex.V1)


def safe_length(text: str, start: int, in_code: bool) -> int:
    """Return how many characters (code points) of a text may be drawn from the place `start` on.

    `in_code` is whether the rendered block ends within code.
    """
    pattern = _code if in_code else _text
    match = pattern.match(text, start)
    return 0 if match is None else match.end() - start
