r"""Rules of markdown-it: formulas in TeX, between `$…$`, `$$…$$`, `\(…\)` or `\[…\]`.

`$` is also money. As pandoc has it (its extension `tex_math_dollars`), the opening `$` has no space
behind it, the closing one has no space before it and no digit behind it, and no dollar between them
has a space before it, so that `$5 and $10` stays text. Between single dollars there is no backtick,
either, which TeX hardly uses and code begins with.

A formula between `$$` or `\[` and `\]` is displayed by itself. It may begin on one line and end on a
later one, up to the next blank line, whatever its lines look like: `= b` underlines no heading there.

The tokens are `formula` in a line and `formula_block` between blocks. Their `content` is the TeX,
their `markup` is the opening mark, and `SOURCE` in their `meta` is the formula as it was written.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

SOURCE = "source"
"""The key of a formula as it was written, with its marks, in the `meta` of its token."""

CLOSING = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
"""The closing mark for each opening mark."""

DISPLAYED = ("$$", r"\[")
"""The opening marks of formulas that are displayed by themselves."""

_UNCLOSED = "unclosed formulas"
"""The key, in the environment, of the line up to which no mark closes a formula, by opening mark."""

_mark = re.compile(r"\\(?P<escaped>.)|(?P<dollars>\$+)|(?P<backtick>`)", re.DOTALL)


def formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Match lines of which the first begins with the mark of a displayed formula.

    What stands behind the closing mark, in its line, makes a paragraph of them.
    """
    if state.is_code_block(start):
        return False
    first = state.bMarks[start] + state.tShift[start]
    opening = state.src[first : first + 2]
    if opening not in DISPLAYED or start < state.env.get(_UNCLOSED, {}).get(opening, 0):
        return False
    closing = CLOSING[opening]
    # Below an item of a list it may stand outside of that.
    indent = min(state.blkIndent, state.sCount[start])
    line, position = start, _closing_in_line(state, start, closing, first + 2)
    while position < 0:
        line += 1
        if line >= end or state.isEmpty(line) or state.sCount[line] < indent:
            state.env.setdefault(_UNCLOSED, {})[opening] = line
            return False
        position = _closing_in_line(state, line, closing, state.bMarks[line])
    rest = state.src[position + 2 : state.eMarks[line]].strip()
    if (rest and line == start) or not state.src[first + 2 : position].strip():
        return False
    if silent:
        return True
    state.line = line + 1
    source = state.getLines(start, state.line, state.blkIndent, False).strip()
    if rest:
        _push_paragraph(state, source, start)
    else:
        token = state.push("formula_block", "", 0)
        token.markup = opening
        token.content = source[2:-2].strip()
        token.meta = {SOURCE: source}
        token.map = [start, state.line]
    return True


def _closing_in_line(state: StateBlock, line: int, closing: str, start: int) -> int:
    """Return the position of a closing mark in a line, from a position on; -1 if there is none."""
    for match in _mark.finditer(state.src, start, state.eMarks[line]):
        if match[0] == closing:
            return match.start()
    return -1


def _push_paragraph(state: StateBlock, content: str, start: int) -> None:
    lines = [start, state.line]
    state.push("paragraph_open", "p", 1).map = lines
    token = state.push("inline", "", 0)
    token.content = content
    token.map = lines
    token.children = []
    state.push("paragraph_close", "p", -1)


def formula(state: StateInline, silent: bool) -> bool:
    """Match a formula in a line; two dollars that open none are text."""
    source, start = state.src, state.pos
    opening = source[start : start + 2]
    if opening not in CLOSING:
        opening = opening[:1]
        if opening != "$":
            return False
    content = start + len(opening)
    end = formula_end(source, opening, content)
    if not content < end < state.posMax or not source[content:end].strip():
        if opening != "$$":
            return False
        if not silent:
            state.append_pending(opening)
        state.pos = content
        return True
    stop = end + len(opening)
    if not silent:
        token = state.push("formula", "", 0)
        token.markup = opening
        token.content = source[content:end].strip()
        token.meta = {SOURCE: source[start:stop]}
    state.pos = stop
    return True


def formula_end(source: str, opening: str, start: int) -> int:
    """Return where the closing mark stands for a formula in a line, or -1.

    Its content begins at `start`, behind the mark `opening`.
    """
    marks = _closing_marks(source)
    if opening != "$":
        return _first(marks.closing[opening], start)
    if source[start : start + 1].isspace():
        return -1
    end = _first(
        marks.closing["$"], start + 1
    )  # for there is something between the marks
    return -1 if -1 < _first(marks.barriers, start) < end else end


def _first(places: list[int], start: int) -> int:
    """Return the first of the places, which are in order, that is not before `start`, or -1."""
    index = bisect_left(places, start)
    return places[index] if index < len(places) else -1


class _Marks(NamedTuple):
    """The positions in a paragraph of all marks that may close a formula, by its opening mark.

    `barriers` are the positions of what no formula between single dollars may contain.
    """

    closing: dict[str, list[int]]
    barriers: list[int]


@lru_cache(maxsize=8)
def _closing_marks(source: str) -> _Marks:
    """Return the marks of a paragraph.

    They are found once for all of its formulas: to look from each opening mark takes quadratic time.
    """
    marks = _Marks({opening: [] for opening in CLOSING}, [])
    openings = {mark: opening for opening, mark in CLOSING.items()}
    for match in _mark.finditer(source):
        mark, place = match[0], match.start()
        if mark in openings and mark != "$":
            marks.closing[openings[mark]].append(place)
        if match["backtick"] or (
            match["dollars"] and source[place - 1 : place].isspace()
        ):
            marks.barriers.append(place)
        elif match["dollars"] and not "0" <= source[place + 1 : place + 2] <= "9":
            marks.closing["$"].append(place)
    return marks
