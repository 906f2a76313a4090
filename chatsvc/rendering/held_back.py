"""How much of a growing text is shown: what may be half a mark of Markdown at its end is held back.

Pure functions of text. A mark that is half there would be drawn as it is written, and would change a
moment later: `**`, `[text](htt`, `| a`, `&am`. What is held back is short and has a limit, behind which
it is shown as the renderer has it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from chatsvc.rendering.bare_links import START
from chatsvc.rendering.formulas import formula_end
from chatsvc.rendering.limits import MAX_FORMULA

MAX_HELD = 300
"""Code points of a link, an address or a formula between single dollars that are held back at most."""

MAX_SCANNED = 4096
"""Code points of a paragraph up to which its links and formulas are looked for: from every mark some of
what follows is searched."""

_line_of_marks = re.compile(
    r"(?:[ \t>#*+\-_=~`|:$!<&\\\[\].)(]|(?<=\[)[xX^]"
    r"|(?<![^\s>])[0-9]{1,9}(?:[.)]|\Z)){0,200}"
)
"""A line of which no letter is there yet: it may become anything."""

_definition = re.compile(r" {0,3}\[[^\]^][^\]]*\]:")

_containers = re.compile(r"[ \t>]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ \t]+)*")

_closing_hashes = re.compile(r"[ \t>]*#{1,6}[ \t].*?([ \t]+#+)[ \t]*", re.DOTALL)

_blank_line = re.compile(r"\n[ \t>]*(?=\n)")

_address = re.compile(rf"(?:{START})[^\s<>*`\[\]\u3000-\u303f\uff00-\uffef]*")

_entity = re.compile(r"&#?[A-Za-z0-9]{0,31}")

_autolink = re.compile(r"<(?:[A-Za-z][^\s<>]*)?")

_destination = re.compile(
    r"""\(\s*(?:<[^<>\n]*>|(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*)"""
    r"""(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)"""
)

_money = re.compile(r"\$[0-9][0-9.,]*(?:[^0-9.,A-Za-z\\^_{}+*=$]|$)")

_no_formula = re.compile(r"\n|\s\$")

_AT_END = "*_~\\" + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""White space, marks of emphasis, and the backslashes that escape them."""

_stop = re.compile(rf"[\\`$!\[\]<&]|{START}")

_pipe = re.compile(r"(?<!\\)\|")


def shown_lines(text: str) -> int:
    """Return how many code points of a text are shown as far as its last lines decide.

    The text ends outside of code. A last line that is only begun, and a displayed formula that is not
    closed, may turn into a block of another kind.
    """
    start = text.rfind("\n") + 1
    line = text[start:]
    end = len(text)
    if line and (_line_of_marks.fullmatch(line) or _definition.match(line)):
        end = start
    elif found := _closing_hashes.fullmatch(line):
        end = start + found.start(1)
    return _before_formula(text, end)


def _before_formula(text: str, end: int) -> int:
    """Return where a displayed formula begins that is not closed before `end`, else `end`."""
    start = max((gap.end() for gap in _blank_line.finditer(text, 0, end)), default=0)
    while start < end:
        line_end = text.find("\n", start, end) % (end + 1)
        containers = _containers.match(text, start, line_end)
        opening = start if containers is None else containers.end()
        closing = {"$$": "$$", "\\[": "\\]"}.get(text[opening : opening + 2])
        if closing is not None:
            close = text.find(closing, opening + 2, end)
            if close < 0:
                return start if end - start <= MAX_FORMULA else end
            line_end = max(line_end, close + 2)
        start = line_end + 1
    return end


class OpenCode(NamedTuple):
    """Code in a line that is not closed: where its backticks begin, and how many they are."""

    start: int
    backticks: int


class InlineEnd(NamedTuple):
    """The end of a paragraph that still grows: how much of it is shown, and the code it is in."""

    shown: int
    code: OpenCode | None


def inline_end(content: str, *, may_be_table: bool) -> InlineEnd:
    """Return how much of the text of a paragraph, heading or cell is shown.

    `may_be_table` is whether its last line may become the head of a table.
    """
    end, code = _scan(content) if len(content) <= MAX_SCANNED else (len(content), None)
    if may_be_table:
        line = content.rfind("\n") + 1
        pipe = _head_of_table(content, line)
        if pipe is not None and pipe < end:
            end = pipe
            if code is not None and code.start >= end:
                code = None
    if code is not None:
        shown = content[:end].rstrip(" \t\n`")
        if len(shown) >= code.start + code.backticks:
            return InlineEnd(len(shown), code)
        end, code = code.start, None
    return InlineEnd(len(content[:end].rstrip(_AT_END)), code)


def _head_of_table(content: str, line: int) -> int | None:
    """Return where the first bar stands in a line that may be the head of a table, or None."""
    found = _pipe.search(content, line)
    if found is None or len(content) - line > MAX_HELD:
        return None
    place = found.start()
    if not content[line:place].strip():
        return place
    beside = content[place - 1 : place] + content[place + 1 : place + 2]
    return place if not beside.strip() else None


def _scan(content: str) -> tuple[int, OpenCode | None]:
    """Return up to where all links, formulas and entities are whole, and the code that is open."""
    brackets: list[int] = []
    place, size = 0, len(content)
    while found := _stop.search(content, place):
        place = found.start()
        mark = content[place]
        held = None
        if mark == "`":
            run = len(content) - place - len(content[place:].lstrip("`"))
            close = re.compile(rf"(?<!`)`{{{run}}}(?!`)").search(content, place + run)
            if close is None:
                first = _first_bracket(brackets, size)
                if first is not None:
                    return first, None
                return size, OpenCode(place, run)
            place = close.end()
        elif mark == "\\":
            closing = {"(": "\\)", "[": "\\]"}.get(content[place + 1 : place + 2])
            close_at = -1 if closing is None else content.find(closing, place + 2)
            if place + 1 == size or (closing is not None and close_at < 0):
                held = place
                if size - place > MAX_FORMULA:
                    held = None
            place = close_at + 2 if close_at >= 0 else place + 2
        elif mark == "$":
            place, held = _formula(content, place)
        elif mark == "!":
            if place + 1 == size:
                held = place
            elif content[place + 1] == "[":
                brackets.append(place)
                place += 1
            place += 1
        elif mark == "[":
            brackets.append(place)
            place += 1
        elif mark == "]":
            place, held = _link(content, place, brackets)
        else:
            pattern = {"<": _autolink, "&": _entity}.get(mark, _address)
            whole = pattern.match(content, place)
            end = place if whole is None else whole.end()
            if end == size and size - place <= MAX_HELD:
                held = place
            place = max(end, place + 1)
        if held is not None:
            brackets.append(held)
            break
    first = _first_bracket(brackets, size)
    return (size if first is None else first), None


def _first_bracket(brackets: list[int], size: int) -> int | None:
    """Return the first place from which on a text may be held back, or None."""
    return next((place for place in brackets if size - place <= MAX_HELD), None)


def _formula(content: str, place: int) -> tuple[int, int | None]:
    """Return where to go on behind a dollar, and from where on the text is held back, if it is."""
    size = len(content)
    opening = "$$" if content.startswith("$$", place) else "$"
    start = place + len(opening)
    end = formula_end(content, opening, start)
    if end >= 0:
        end += len(opening)
        # A digit behind a single dollar would make it another one.
        return end, place if opening == "$" and end == size else None
    if opening == "$":
        money = _money.match(content, place)
        rest = content[place : place + MAX_HELD]
        if (
            content[start : start + 1].isspace()
            or (money and money.end() < size)
            or _no_formula.search(rest)
        ):
            return start, None
    return start, place if size - place <= MAX_HELD else None


def _link(content: str, place: int, brackets: list[int]) -> tuple[int, int | None]:
    """Return where to go on behind a closing bracket, and from where on the text is held back."""
    if not brackets:
        return place + 1, None
    start, size = brackets.pop(), len(content)
    behind = content[place + 1 : place + 2]
    if not behind:
        return size, start
    if behind == "(":
        whole = _destination.match(content, place + 1)
        if whole is not None:
            return whole.end(), None
        if "\n\n" in content[place:] or (")" in content[place:]):
            return place + 1, None
        return size, start
    if behind == "[" and "]" not in content[place + 1 :]:
        return size, start
    return place + 1, None
