"""A reply's Markdown as HTML that does no harm, whatever the model wrote.

The Markdown is CommonMark with tables, strikethrough, task lists, footnotes, bare links and formulas;
emphasis may stand beside Chinese, Japanese or Korean text, and line ends stay line ends.

Invariants:
- HTML in the Markdown is text: it is escaped by markdown-it. nh3 cleans what comes out all the
  same; neither trusts the other. Only `plain` goes past them: it writes one element around text.
- Nothing is loaded and nothing is asked of this service. An image becomes a link, for its address
  can carry the conversation to a stranger. A link leads to `http`, `https` or `mailto`, or it is
  plain text.
- Nothing needs an inline style: code is coloured by classes, cells are aligned by attributes.
- A formula becomes MathML, by `chatsvc.rendering.mathml`, or its source is shown as code.
- The ids of footnotes are the same for each text; see `chatsvc.rendering.reply_ids`.
- Each block of the top level says in `data-end` to which position (code points) of the text it
  goes, so a page can show what is finished as HTML and what follows as text. The last block of a
  growing reply may yet become another thing.
- What is over a limit of `chatsvc.rendering.limits` is shown as plain text. Nothing of the text is
  lost, and the HTML has at most `OUTPUT_FACTOR` times its characters and `OUTPUT_ALLOWANCE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

from markdown_it.token import Token

from chatsvc.rendering.cleaning import clean
from chatsvc.rendering.escaping import plain
from chatsvc.rendering.html_writer import HTMLWriter
from chatsvc.rendering.limits import (
    MAX_COLOURED,
    OUTPUT_ALLOWANCE,
    OUTPUT_FACTOR,
    Budget,
    OverLimit,
)
from chatsvc.rendering.reply_ids import ids_in, without_dead_links
from chatsvc.rendering.tokens import BUDGET, OPTIONS, Env, parse

LEFT = "left"
"""The key, in the environment of a rendering, of what `blocks_as_html` says of the budget."""

_writer = HTMLWriter()


def render(
    text: str,
    *,
    colours: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> str:
    """Return a reply's Markdown as safe HTML, block by block.

    `text` has clean line ends, as every log has. `colours` is whether code may be coloured; `clock`
    returns the seconds of CPU by which the rendering is limited.
    """
    env: Env = {BUDGET: Budget(clock, MAX_COLOURED if colours else 0)}
    tokens, end_line = parse(text, env)
    html = "".join(html for _, _, html in blocks_as_html(text, tokens, end_line, env))
    return plain(text) if is_too_long(html, text) else html


def is_too_long(html: str, text: str) -> bool:
    """Return whether HTML is longer than that of a text may be.

    nh3 escapes no-break spaces, which the budget has not counted.
    """
    return len(html) > OUTPUT_FACTOR * len(text) + OUTPUT_ALLOWANCE


def blocks_as_html(
    text: str,
    tokens: Sequence[Token],
    end_line: int,
    env: Env,
    *,
    with_ends: bool = True,
) -> list[tuple[int, int, str]]:
    """Return the start, the end and the HTML of each block of the top level.

    From where a limit is passed there is one of plain text. `tokens` go up to the line `end_line`.
    `with_ends` is whether the HTML says in `data-end` where the block ends. `env` gets, as `LEFT`,
    what the budget had before each block: the characters of code to colour, and those of HTML.
    """
    budget: Budget = env[BUDGET]
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    blocks = list(top_level(tokens))
    starts = [lines[(block[0].map or [0])[0]] for block in blocks]
    # The last line has no line end.
    rest = min(lines[end_line], len(text))
    budget.begin_phase()
    html: list[tuple[int, int, str]] = []
    left = env[LEFT] = []
    # The first begins where the text does, whatever stands before it.
    for block, (start, end) in zip(blocks, pairwise([*starts, rest]), strict=True):
        left.append((budget.colourable, budget.output))
        budget.allow_output(end - start)
        _set_attributes(block, end if with_ends else None)
        try:
            part = _writer.render(block, OPTIONS, env)
        except OverLimit:
            rest = start
            break
        html.append((start, end, clean(part)))
    if rest < len(text):
        ids = ids_in("".join(part for _, _, part in html))
        html = [(a, b, without_dead_links(part, ids)) for a, b, part in html]
        html.append((rest, len(text), plain(text, rest, with_end=with_ends)))
    return html


def top_level(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each block of the top level; the last one may not be closed."""
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        if depth == 0 and token.type != "inline":
            yield block
            block = []
    if block:
        yield block


def _set_attributes(block: Sequence[Token], end: int | None) -> None:
    """Write into a block of the top level where it ends (code points), and align its cells.

    None stands for no end. The block has the direction of its text, and each item of a list that
    of its own: a marker stands where the item's line begins.
    """
    first = block[0]
    if first.type not in ("fence", "code_block", "formula_block"):
        first.attrSet("dir", "auto")
    if end is not None:
        first.attrSet("data-end", str(end))
    for token in block:
        if token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("align", style.removeprefix("text-align:"))
        elif token.type in ("list_item_open", "footnote_item_open"):
            token.attrSet("dir", "auto")
