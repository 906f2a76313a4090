"""The blocks of a growing text as HTML, each with its place, and the last one open.

A text is rendered piece by piece: once a block is finished, only what follows it is rendered again.
`chatsvc.rendering.block_messages.Past` is what the blocks before a piece leave to it, so that the blocks
of all pieces are those of the whole text, up to definitions that come later.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from markdown_it.token import Token

from chatsvc.rendering.block_messages import Answered, Asked, Block, Past, plain_blocks
from chatsvc.rendering.footnotes import PAST_NOTES, defines_footnotes
from chatsvc.rendering.limits import Budget
from chatsvc.rendering.markdown import LEFT, blocks_as_html, is_too_long, top_level
from chatsvc.rendering.open_end import OpenEnd
from chatsvc.rendering.tokens import BUDGET, OPEN_END, Env, parse

_end_tags = re.compile(r"(?:</[a-z0-9]+>\s*)*\Z")

_code_end = "</code></pre>"

_PLAIN = '<pre dir="auto"><code>'


def render_blocks(
    asked: Asked,
    *,
    colours: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> Answered:
    """Return the blocks of a piece of a text. `colours` and `clock` are those of `markdown.render`."""
    text, past = asked.text, asked.past
    budget = Budget(
        clock,
        past.colourable if colours else 0,
        cells=past.cells,
        output=past.output,
    )
    env: Env = {BUDGET: budget, "references": dict(past.references)}
    end = None
    if not asked.whole:
        end = env[OPEN_END] = OpenEnd(text)
        env[PAST_NOTES] = past.footnotes
    tokens, end_line = parse(text, env)
    shown = text if end is None else text[: end.shown]
    end_line = min(end_line, shown.count("\n") + 1)
    found = blocks_as_html(shown, tokens, end_line, env, with_ends=False)
    if is_too_long("".join(html for _, _, html in found), text):
        return plain_blocks(asked)
    blocks = [Block(*block) for block in found]
    if end is not None and blocks:
        _open(blocks[-1], end)
    stable = blocks[-1].start if blocks else 0
    lines = shown[:stable].count("\n")
    references = env["references"]
    return Answered(
        blocks,
        stable,
        _past(asked, env, tokens, lines, len(blocks)),
        defines=len(references) > len(past.references) or defines_footnotes(env),
    )


def _open(block: Block, end: OpenEnd) -> None:
    """Cut the HTML of the last block in two, where what follows will go, unless it is finished."""
    block.end = end.shown
    html = block.html
    is_plain = html.startswith(_PLAIN)  # a limit was passed
    if end.in_code or is_plain:
        place = html.rfind(_code_end)
        behind = html[place:]
        # Its last line is not ended yet; lexers end it.
        place = len(html[:place].rstrip("\n"))
    elif end.mark and end.mark in html:
        place = html.find(end.mark)
        behind = html[place + 1 :]
        block.html = html = html[:place] + behind
    else:
        tail = _end_tags.search(html)
        place = len(html) if tail is None else tail.start()
        behind = html[place:]
    if end.is_open or is_plain or _may_go_on(html):
        block.html = html[:place]
        block.close = re.sub(r"\s+", "", behind)


def _may_go_on(html: str) -> bool:
    """Return whether a block may get further blocks in it, as a list or a quotation can."""
    return html.startswith(("<ul", "<ol", "<blockquote", "<section", "<table"))


def _past(
    asked: Asked, env: Env, tokens: Sequence[Token], lines: int, blocks: int
) -> Past:
    """Return what the blocks before the last of `blocks` leave to others.

    They stand before the line `lines`.
    """
    past, before = asked.past, Past()
    before.references = {
        name: found if name in past.references else {**found, "map": [-1, -1]}
        for name, found in env["references"].items()
        if name in past.references or found["map"][0] < lines
    }
    left = env[LEFT]
    before.colourable, before.output = (
        left[blocks - 1] if 0 < blocks <= len(left) else (past.colourable, past.output)
    )
    finished = list(top_level(tokens))[: max(blocks - 1, 0)]
    kinds = [token.type for block in finished for token in block]
    before.cells = past.cells - kinds.count("td_open") - kinds.count("th_open")
    before.footnotes = past.footnotes + kinds.count("footnote_item_open")
    return before
