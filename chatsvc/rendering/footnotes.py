"""Rules of markdown-it: footnotes, as GitHub shows them.

A line `[^name]: text` of the top level defines a footnote, with all lines that are indented below it,
and `[^name]` refers to it. Footnotes are numbered in the order in which they are referred to, and listed
where they are defined. A name that is not defined stays text. A definition that nothing refers to, or
whose name is defined already, has a number behind the others: nothing is lost.

The ids are `fn-1` for a footnote, `fnref-1` and `fnref-1-2` for what refers to it;
`chatsvc.rendering.reply_ids` makes them those of one reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from markdown_it.common.utils import normalizeReference
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

NUMBER = "number"
"""The key of a footnote's number, in the `meta` of what refers to it and of what leads back."""

COUNT = "count"
"""The key of which of the references to a footnote it is, from 1 on, in the same `meta`."""

_NAME = "name"

_DEFINED = "footnotes"
"""The key of the set of names that are defined, in the environment."""

PAST_NOTES = "past footnotes"
"""The key of the number of footnotes before a piece of a text that still grows, in the environment.

There references stay text: which number one gets is known at the end of the text alone.
"""

_INDENT = 4
"""Columns by which further lines of a footnote are indented."""

_name = re.compile(r"\[\^([^\s\[\]]{1,100})\]")


def footnote_definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Match a definition, and parse the blocks in it."""
    # Below a list or a quotation it ends what it does not belong to.
    is_nested = state.level > 0 or state.blkIndent > 0
    if is_nested and not (silent and state.sCount[start] < state.blkIndent):
        return False
    if state.is_code_block(start):
        return False
    first = state.bMarks[start] + state.tShift[start]
    match = _name.match(state.src, first, state.eMarks[start])
    if match is None or state.src[match.end() : match.end() + 1] != ":":
        return False
    if silent:
        return True
    name = normalizeReference(match[1])
    defined: set[str] = state.env.setdefault(_DEFINED, set())
    opening = state.push("footnote_open", "li", 1)
    opening.meta = {_NAME: "" if name in defined else name}
    defined.add(name)
    _parse_content(state, start, end, match.end() + 1)
    opening.map = [start, state.line]
    state.push("footnote_close", "li", -1)
    return True


def _parse_content(state: StateBlock, start: int, end: int, content: int) -> None:
    """Parse the blocks of a definition, of which the first begins at the position `content`."""
    line = state.src[content : state.eMarks[start]]
    before = (
        state.bMarks[start],
        state.tShift[start],
        state.sCount[start],
        state.parentType,
    )
    state.bMarks[start] = content
    state.tShift[start] = len(line) - len(line.lstrip(" \t"))
    state.sCount[start] = state.blkIndent = _INDENT
    state.parentType = "footnote"
    state.md.block.tokenize(state, start, end)
    state.blkIndent = 0
    (
        state.bMarks[start],
        state.tShift[start],
        state.sCount[start],
        state.parentType,
    ) = before


def defines_footnotes(env: MutableMapping[str, Any]) -> bool:
    """Return whether the text that was parsed defines footnotes."""
    return _DEFINED in env


def footnote_reference(state: StateInline, silent: bool) -> bool:
    """Match a reference to a footnote that is defined."""
    match = _name.match(state.src, state.pos, state.posMax)
    if match is None or PAST_NOTES in state.env:
        return False
    name = normalizeReference(match[1])
    if name not in state.env.get(_DEFINED, ()):
        return False
    if not silent:
        token = state.push("footnote_reference", "", 0)
        token.content = match[0]
        token.meta = {_NAME: name}
    state.pos = match.end()
    return True


@dataclass
class _Footnote:
    """A definition: its tokens, the lines that it stands on, and how often it is referred to."""

    name: str
    lines: list[int]
    tokens: list[Token] = field(default_factory=list)
    number: int = 0
    count: int = 0


def list_footnotes(state: StateCore) -> None:
    """Number the footnotes, and make a list of those whose definitions follow each other.

    It stands where they do: if a limit is passed, what is before it is shown, and all that follows
    is text.
    """
    if _DEFINED not in state.env:
        return
    blocks = list(_parts(state.tokens))
    footnotes = [part for part in blocks if isinstance(part, _Footnote)]
    by_name = {footnote.name: footnote for footnote in footnotes if footnote.name}
    ordered: list[_Footnote] = []
    past = state.env.get(PAST_NOTES, 0)
    _number([part for part in blocks if isinstance(part, Token)], by_name, ordered)
    read = 0
    for footnote in (*ordered, *footnotes):
        if not footnote.number:
            ordered.append(footnote)
            footnote.number = past + len(ordered)
        # What they refer to themselves is appended meanwhile.
        while read < len(ordered):
            _number(ordered[read].tokens, by_name, ordered)
            read += 1
    tokens: list[Token] = []
    for is_list, run in groupby(blocks, lambda part: isinstance(part, _Footnote)):
        parts = list(run)
        tokens += _listed(parts) if is_list else parts  # type: ignore[arg-type]
    state.tokens = tokens


def _parts(tokens: Iterable[Token]) -> Iterator[Token | _Footnote]:
    """Yield the tokens, but one footnote in place of those of each definition."""
    footnote: _Footnote | None = None
    for token in tokens:
        if token.type == "footnote_open":
            footnote = _Footnote(token.meta[_NAME], token.map or [0, 0])
        elif token.type == "footnote_close" and footnote is not None:
            yield footnote
            footnote = None
        elif footnote is not None:
            footnote.tokens.append(token)
        else:
            yield token


def _number(
    tokens: Iterable[Token], by_name: dict[str, _Footnote], ordered: list[_Footnote]
) -> None:
    """Number the footnotes that the tokens refer to, in the order of their first references."""
    for token in tokens:
        for child in token.children or ():
            if child.type != "footnote_reference":
                continue
            footnote = by_name.get(child.meta[_NAME])
            if footnote is None:  # its definition is in what a limit has cut off
                child.type = "text"
                continue
            if not footnote.number:
                ordered.append(footnote)
                footnote.number = len(ordered)
            footnote.count += 1
            child.meta = {NUMBER: footnote.number, COUNT: footnote.count}


def _listed(footnotes: list[_Footnote]) -> list[Token]:
    """Return the tokens of a list of footnotes, which stand below each other in the text."""
    section = Token("footnotes_open", "section", 1, map=footnotes[0].lines, block=True)
    section.attrs = {"class": "footnotes"}
    tokens = [section, Token("footnote_list_open", "ol", 1, block=True)]
    before = 0
    for footnote in sorted(footnotes, key=lambda footnote: footnote.number):
        item = Token("footnote_item_open", "li", 1, block=True)
        item.attrs = {"id": f"fn-{footnote.number}"}
        if footnote.number != before + 1:
            item.attrs["value"] = footnote.number
        before = footnote.number
        back = [
            Token("footnote_back", "", 0, meta={NUMBER: footnote.number, COUNT: count})
            for count in range(1, footnote.count + 1)
        ]
        content = footnote.tokens
        # Behind its last words, unless it ends with something else than a paragraph.
        ends_with_words = content and content[-1].type == "paragraph_close"
        end = len(content) - (1 if ends_with_words else 0)
        tokens += [
            item,
            *content[:end],
            *back,
            *content[end:],
            Token("footnote_item_close", "li", -1, block=True),
        ]
    tokens += [
        Token("footnote_list_close", "ol", -1, block=True),
        Token("footnotes_close", "section", -1, block=True),
    ]
    return tokens
