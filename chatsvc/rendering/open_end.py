"""The open end of a growing text: what of its last block is shown, and where what follows will go.

`find_open_blocks` stands for markdown-it's rule `block` where a text still grows. It leaves out what
`chatsvc.rendering.held_back` holds back, closes emphasis and code that are open, and puts the character
`OpenEnd.mark` where the next characters will go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from chatsvc.rendering.held_back import OpenCode, inline_end, shown_lines
from chatsvc.rendering.inline_parser import InlineParser
from chatsvc.rendering.limits import MAX_PARAGRAPH

_PRIVATE_USE = range(0xE000, 0xF900)

_fence_begun = re.compile(r"[ \t>]*(`+|~+)[ \t]*")

_cell_end = re.compile(r"(?<!\\)\|")


@dataclass
class OpenEnd:
    """What is known of the end of a growing text.

    `mark` is a character that the text does not have. `shown` is how many code points of the text are
    shown. `is_open` is whether the last block can go on there, and `in_code` whether it is a block of
    code.
    """

    text: str
    mark: str = ""
    shown: int = 0
    is_open: bool = False
    in_code: bool = False

    def __post_init__(self) -> None:
        self.mark = next(
            (chr(code) for code in _PRIVATE_USE if chr(code) not in self.text), ""
        )
        self.shown = len(self.text.rstrip())


def find_open_blocks(
    state: StateCore, end: OpenEnd, parse: Callable[[StateCore], None]
) -> None:
    """Find the blocks of a text that still grows, as far as they are shown.

    `parse` finds those of the source of `state`; it may be called several times.
    """
    text = end.text
    parse(state)
    leaf = _last_leaf(state.tokens)
    shown = _shown(text, leaf)
    if shown < len(text):
        state.src = text = text[:shown]
        state.tokens.clear()
        parse(state)
        leaf = _last_leaf(state.tokens)
    _finish(state, end, text[:shown], leaf)


def _last_leaf(tokens: Sequence[Token]) -> Token | None:
    """Return the last token that holds text, or None if an empty block is behind it."""
    for token in reversed(tokens):
        if token.nesting == 0:
            return token
        if token.nesting > 0:
            return None
    return None


def _lines(token: Token) -> tuple[int, int]:
    return (token.map[0], token.map[1]) if token.map else (0, 0)


def _is_open_fence(token: Token, text: str) -> bool:
    """Return whether a token is a block of code to whose end the text goes, and without its last line."""
    if token.type != "fence":
        return False
    first, end = _lines(token)
    code = token.content.count("\n") + (not token.content.endswith("\n"))
    if not token.content:
        code = 0
    return end - first == 1 + code and end >= text.count("\n")


def _shown(text: str, leaf: Token | None) -> int:
    """Return how many code points of a text are shown, as far as its lines decide."""
    begin = text.rfind("\n") + 1
    line = text[begin:]
    last = text.count("\n")
    if leaf is not None and leaf.type == "fence":
        first, end = _lines(leaf)
        if not line or end <= last:
            return len(text) if _is_open_fence(leaf, text) else shown_lines(text)
        # The last line opens it, or may be the one that closes it.
        if first == last or _fence_begun.fullmatch(line):
            return begin
        return len(text)
    if leaf is not None and leaf.type == "code_block" and _lines(leaf)[1] > last:
        return len(text)
    return shown_lines(text)


def _finish(state: StateCore, end: OpenEnd, text: str, leaf: Token | None) -> None:
    """Have the last leaf end where the text is shown, with the mark there if it is open."""
    shown = text.rstrip()
    end.shown = len(shown)
    if leaf is None or not end.mark:
        return
    gap = text[len(shown) :].count("\n")
    _, last = _lines(leaf)
    reaches = last >= shown.count("\n") + 1
    if leaf.type in ("fence", "code_block"):
        end.is_open = end.in_code = leaf.type == "code_block" or _is_open_fence(
            leaf, text
        )
        if end.is_open:
            leaf.content = leaf.content.rstrip()
        return
    if leaf.type != "inline" or not reaches or gap > 1:
        return
    opening = state.tokens[state.tokens.index(leaf) - 1]
    if opening.type == "heading_open" and (gap or opening.markup in ("=", "-")):
        return
    is_cell = opening.type in ("td_open", "th_open")
    if is_cell:
        if gap or opening.type == "th_open":
            return
        leaf, shown = _last_cell(state.tokens, shown)
    end.is_open = True
    _open_inline(state, end, leaf, shown, may_be_table=opening.type == "paragraph_open")


def _last_cell(tokens: list[Token], shown: str) -> tuple[Token, str]:
    """Return the cell that a row ends with so far, and the text up to its end.

    The cells behind it, which fill the row up, are removed.
    """
    row = max(index for index, token in enumerate(tokens) if token.type == "tr_open")
    end = next(i for i in range(row, len(tokens)) if tokens[i].type == "tr_close")
    columns = (end - row - 1) // 3
    begin = shown.rfind("\n") + 1
    line = shown[begin:]
    bars = [bar.start() for bar in _cell_end.finditer(line)]
    lead = re.match(r"[ \t>]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ \t]+)*", line)
    if bars and lead is not None and bars[0] == lead.end():
        del bars[0]
    if bars and bars[-1] == len(line) - 1:
        line = line[: bars.pop()]
    cells = min(len(bars) + 1, columns)
    if len(bars) + 1 > columns:
        line = line[: bars[columns - 1]]
    del tokens[row + 1 + 3 * cells : end]
    return tokens[row + 3 * cells - 1], shown[:begin] + line.rstrip()


def _open_inline(
    state: StateCore, end: OpenEnd, leaf: Token, shown: str, *, may_be_table: bool
) -> None:
    """Cut the text of the last paragraph, heading or cell to what is shown, and mark its end."""
    content = leaf.content
    found = inline_end(content, may_be_table=may_be_table)
    rest = content[found.shown :]
    place = len(shown)
    for _ in range(rest.count("\n")):
        place = shown.rfind("\n", 0, place)
    place -= len(rest.partition("\n")[0])
    end.shown = len(shown[:place].rstrip())
    content = content[: found.shown].rstrip()
    index = state.tokens.index(leaf)
    if not content and state.tokens[index - 1].level == 0:
        del state.tokens[index - 1 :]
        end.is_open = False
        return
    closing = _closing(state, content, found.code, end.mark)
    leaf.content = content + end.mark + closing


def _closing(state: StateCore, content: str, code: OpenCode | None, mark: str) -> str:
    """Return the marks that close what is open at the end of a paragraph's text."""
    if len(content) > MAX_PARAGRAPH or not re.search(r"[*_~`]", content):
        return ""
    closing = "`" * code.backticks if code is not None else ""
    parser: Any = state.md.inline
    marks = _open_marks(parser, state, content + mark + closing)
    closing += "".join(reversed(marks))
    return closing if _closes(parser, state, content, mark, closing) else ""


def _open_marks(parser: InlineParser, state: StateCore, content: str) -> list[str]:
    """Return the marks of emphasis that are open at the end of a text and sure to be emphasis."""
    parsed = parser.paired(content, state.md, state.env)
    marks = []
    last, sure = -2, True
    runs = parsed.delimiters
    for number, delimiter in enumerate(runs):
        if not delimiter.open or delimiter.end >= 0:
            continue
        mark = chr(delimiter.marker)
        if delimiter.token != last + 1:
            before = parsed.tokens[delimiter.token - 1].content[-1:]
            following = runs[number + 1 : number + 2]
            is_double = mark == "~" or (
                bool(following)
                and following[0].token == delimiter.token + 1
                and following[0].marker == delimiter.marker
            )
            within_word = delimiter.token > 0 and before.isascii() and before.isalnum()
            sure = is_double or not within_word
        last = delimiter.token
        if sure:
            marks.append(mark * 2 if mark == "~" else mark)
    return marks


def _closes(
    parser: InlineParser, state: StateCore, content: str, mark: str, closing: str
) -> bool:
    """Return whether nothing is shown behind the mark, so that `closing` closes what is open."""
    if not closing:
        return True
    text = content + mark + closing
    tokens = parser.parse(text, state.md, state.env, [])
    behind = False
    for token in tokens:
        if behind and (token.content or token.nesting > 0):
            return False
        if mark in token.content:
            if not token.content.endswith(mark):
                return False
            behind = True
    return behind
