"""Markdown into tokens, by markdown-it with limits in its rules.

Every limit is a rule of markdown-it's, or stands in place of one: the time is looked at before each
line and each inline token, and blocks, tables and links are matched as far as their limits go. The
rules for what CommonMark doesn't have are in modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from itertools import accumulate
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import (
    StateBlock,
    blockquote,
    list_block,
    reference,
    table,
)
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from chatsvc.rendering.bare_links import START, bare_link
from chatsvc.rendering.footnotes import (
    footnote_definition,
    footnote_reference,
    list_footnotes,
)
from chatsvc.rendering.formulas import formula, formula_block
from chatsvc.rendering.inline_parser import InlineParser
from chatsvc.rendering.limits import (
    MAX_ADDRESS,
    MAX_INLINE_NESTING,
    MAX_NESTING,
    MAX_PARAGRAPH,
    Budget,
    OverLimit,
)
from chatsvc.rendering.open_end import find_open_blocks
from chatsvc.rendering.task_lists import find_tasks

BUDGET = "budget"
"""The key of the `Budget` in the environment of one rendering."""

OPEN_END = "open end"
"""The key of the `OpenEnd` of a text that still grows, in the same environment; else there is none."""

_REST = "rest"
"""The key of the line from which on nothing was parsed, in the same environment, if there is one."""

Env = MutableMapping[str, Any]
"""What markdown-it passes to all rules, and to the functions that render tokens."""


def parse(text: str, env: Env) -> tuple[list[Token], int]:
    """Return the tokens of a text, and the number of the line up to which they go.

    That is the number of its lines unless the time was used up. `env` has the budget, and gets what
    the renderer needs.
    """
    tokens = _markdown.parse(text, env)
    return tokens, env.get(_REST, text.count("\n") + 1)


def _parse_blocks(state: StateCore) -> None:
    """Find the blocks, as far as the time lasts. It stands for markdown-it's rule `block`."""
    env = state.env
    env[BUDGET].begin_phase()
    try:
        if OPEN_END not in env:
            state.md.block.parse(state.src, state.md, env, state.tokens)
            return
        references, cells = env["references"], env[BUDGET].cells
        known = set(env)

        def parse(state: StateCore) -> None:
            for name in env.keys() - known:  # what an earlier call has found
                del env[name]
            env["references"], env[BUDGET].cells = dict(references), cells
            state.md.block.parse(state.src, state.md, env, state.tokens)

        find_open_blocks(state, env[OPEN_END], parse)
    except OverLimit:
        _cut(state, len(state.tokens) - 1)


def _parse_inlines(state: StateCore) -> None:
    """Find emphasis, links and code in the blocks. It stands for markdown-it's rule `inline`."""
    state.env[BUDGET].begin_phase()
    for index, token in enumerate(state.tokens):
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) <= MAX_PARAGRAPH:
            try:
                state.md.inline.parse(
                    token.content, state.md, state.env, token.children
                )
            except OverLimit:
                _cut(state, index)
                return
            depths = accumulate(child.nesting for child in token.children)
            if max(depths, default=0) <= MAX_INLINE_NESTING:
                continue
        token.children = [Token("text", "", 0, content=token.content)]


def _cut(state: StateCore, index: int) -> None:
    """Leave the block of the top level that a token belongs to, and all behind it, to `plain`."""
    tokens = state.tokens
    while index > 0 and (tokens[index].level or not tokens[index].map):
        index -= 1
    state.env[_REST] = (tokens[index].map or [0])[0] if tokens else 0
    del tokens[max(index, 0) :]


def _check_block_time(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Match nothing. Raises `OverLimit`; as the first rule it is called at every line."""
    state.env[BUDGET].check_time()
    return False


def _check_inline_time(state: StateInline, silent: bool) -> bool:
    """Match nothing. Raises `OverLimit`; as the first rule it is called at every token."""
    state.env[BUDGET].check_time()
    return False


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Match a table as far as the cells last; its further rows are a paragraph."""
    if start + 2 > end:
        return False
    budget: Budget = state.env[BUDGET]
    below_head = start + 1
    line = state.src[state.bMarks[below_head] : state.eMarks[below_head]]
    columns = line.strip(" \t|").count("|") + 1
    rows = budget.cells // columns
    # The line between the head and the other rows makes none.
    if not rows or not table(state, start, min(end, start + rows + 1), silent):
        return False
    if not silent:
        budget.cells -= columns * (state.line - below_head)
    return True


def _quotation(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    return _has_room(state) and blockquote(state, start, end, silent)


def _list(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    return _has_room(state) and list_block(state, start, end, silent)


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Match the definition of a link. What only looks like that of a footnote stays text."""
    first = state.bMarks[start] + state.tShift[start]
    if state.src.startswith("[^", first):
        return False
    return reference(state, start, end, silent)


def _has_room(state: StateBlock) -> bool:
    """Return whether a block may have others in it: what is nested deeper, markdown-it drops."""
    return state.level + 2 < MAX_NESTING


class _Markdown(MarkdownIt):
    """markdown-it's parser, for which an address over `MAX_ADDRESS` makes no link."""

    def normalizeLink(self, url: str) -> str:
        """Return an address with the characters escaped that need it."""
        return url if len(url) > MAX_ADDRESS else super().normalizeLink(url)

    def validateLink(self, url: str) -> bool:
        """Return whether a link may lead to an address."""
        return len(url) <= MAX_ADDRESS and super().validateLink(url)


def _parser() -> MarkdownIt:
    """Return a parser with all limits in its rules.

    `alt` are the blocks that a rule may interrupt, as markdown-it has them.
    """
    markdown = _Markdown()
    markdown.inline = InlineParser()
    options: Any = {"html": False, "maxNesting": MAX_NESTING}
    markdown.configure("commonmark", options).enable(["table", "strikethrough"])
    paragraphs: RuleOptionsType = {"alt": ["paragraph", "reference"]}
    nested: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote"]}
    lines: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.core.ruler.at("block", _parse_blocks)
    markdown.core.ruler.at("inline", _parse_inlines)
    markdown.block.ruler.at("table", _table, paragraphs)
    markdown.block.ruler.at("blockquote", _quotation, lines)
    markdown.block.ruler.at("list", _list, nested)
    markdown.block.ruler.at("reference", _reference)
    markdown.block.ruler.before("table", "time", _check_block_time, lines)
    markdown.block.ruler.before("table", "formula", formula_block, lines)
    markdown.block.ruler.before("reference", "footnote", footnote_definition, lines)
    markdown.core.ruler.after("block", "tasks", find_tasks)
    markdown.core.ruler.push("footnotes", list_footnotes)
    marks = markdown.inline.terminator_re.pattern
    markdown.inline.terminator_re = re.compile(f"{marks}|{START}")
    markdown.inline.ruler.before("text", "time", _check_inline_time)
    markdown.inline.ruler.before("newline", "bare link", bare_link)
    markdown.inline.ruler.before("escape", "formula", formula)
    markdown.inline.ruler.before("link", "footnote", footnote_reference)
    return markdown


_markdown = _parser()

OPTIONS = _markdown.options
"""The options of the parser, which a renderer wants to know, too."""
