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
from chatsvc.rendering.reply_ids import without_dead_links
from chatsvc.rendering.tokens import BUDGET, OPTIONS, Env, parse

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
    html = _blocks_as_html(text, tokens, end_line, env)
    # nh3 escapes no-break spaces, which the budget has not counted.
    if len(html) > OUTPUT_FACTOR * len(text) + OUTPUT_ALLOWANCE:
        return plain(text)
    return html


def _blocks_as_html(text: str, tokens: Sequence[Token], end_line: int, env: Env) -> str:
    """Return the blocks of the top level as HTML, and as plain text from where a limit is passed.

    `tokens` go up to the line `end_line`.
    """
    budget: Budget = env[BUDGET]
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    blocks = list(_top_level(tokens))
    starts = [lines[(block[0].map or [0])[0]] for block in blocks]
    # The last line has no line end.
    rest = min(lines[end_line], len(text))
    budget.begin_phase()
    html: list[str] = []
    # The first begins where the text does, whatever stands before it.
    for block, (start, end) in zip(blocks, pairwise([*starts, rest]), strict=True):
        budget.allow_output(end - start)
        _set_attributes(block, end)
        try:
            part = _writer.render(block, OPTIONS, env)
        except OverLimit:
            rest = start
            break
        html.append(clean(part))
    shown = "".join(html)
    if rest < len(text):
        shown = without_dead_links(shown)
    return shown + plain(text, rest)


def _top_level(tokens: Sequence[Token]) -> Iterator[list[Token]]:
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


def _set_attributes(block: Sequence[Token], end: int) -> None:
    """Write into a block of the top level where it ends (code points), and align its cells.

    The block has the direction of its text, and each item of a list that of its own: a marker
    stands where the item's line begins.
    """
    first = block[0]
    if first.type not in ("fence", "code_block", "formula_block"):
        first.attrSet("dir", "auto")
    first.attrSet("data-end", str(end))
    for token in block:
        if token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("align", style.removeprefix("text-align:"))
        elif token.type in ("list_item_open", "footnote_item_open"):
            token.attrSet("dir", "auto")
