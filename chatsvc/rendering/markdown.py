"""A reply's Markdown as HTML that does no harm, whatever the model wrote.

The Markdown is CommonMark with tables and strikethrough.

Invariants:
- HTML in the Markdown is text: it is escaped by markdown-it. nh3 cleans what comes out all the
  same; neither trusts the other. Only `plain` goes past them: it writes one element around text.
- Nothing is loaded and nothing is asked of this service. An image becomes a link, for its address
  can carry the conversation to a stranger. A link leads to `http`, `https` or `mailto`, or it is
  plain text.
- Nothing needs an inline style: code is coloured by classes, cells are aligned by attributes.
- Each block of the top level says in `data-end` to which position (code points) of the text it
  goes, so a page can show what is finished as HTML and what follows as text. The last block of a
  growing reply may yet become another thing.
- What is over a limit of `chatsvc.rendering.limits` is shown as plain text. Nothing of the text is
  lost, and the HTML has at most `OUTPUT_FACTOR` times its characters and `OUTPUT_ALLOWANCE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import accumulate, pairwise

import nh3
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from chatsvc.rendering.colours import coloured
from chatsvc.rendering.escaping import escaped, plain
from chatsvc.rendering.limits import (
    MAX_COLOURED,
    OUTPUT_ALLOWANCE,
    OUTPUT_FACTOR,
    Budget,
    OverLimit,
)
from chatsvc.rendering.tokens import BUDGET, OPTIONS, Env, parse

TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "br", "blockquote"),
    *("ul", "ol", "li", "pre", "code", "span", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
"""The elements that the HTML may have."""

ATTRIBUTES = {
    "*": {"data-end", "dir"},
    "a": {"href", "title"},
    "code": {"class"},
    "ol": {"start"},
    "span": {"class"},
    "td": {"align"},
    "th": {"align"},
}
"""The attributes that each element may have; those under `*` may stand on all."""

LINK_ATTRIBUTES = {"rel": "noopener noreferrer nofollow", "target": "_blank"}
"""The attributes that every link gets."""

LINK_OVERHEAD = sum(len(f' {k}="{v}"') for k, v in LINK_ATTRIBUTES.items())
"""Characters of HTML that nh3 adds to a link."""


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


class _Renderer(RendererHTML):
    """markdown-it's renderer, with other code blocks and images, which counts what it writes."""

    def renderToken(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a tag."""
        html = super().renderToken(tokens, idx, options, env)
        return _counted(html, env, LINK_OVERHEAD * (tokens[idx].type == "link_open"))

    def text(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return plain text."""
        return _counted(escaped(tokens[idx].content), env)

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return code within a line."""
        return _counted(super().code_inline(tokens, idx, options, env), env)

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a block of code in the one shape that a page can give a copy button.

        That is `pre` around `code`.
        """
        token = tokens[idx]
        language = token.info.split()[0].lower() if token.info.strip() else ""
        kind = f' class="language-{escape(language)}"' if language else ""
        code = coloured(token.content, language, env[BUDGET])
        attributes = self.renderAttrs(token)
        return _counted(f"<pre{attributes}><code{kind}>{code}</code></pre>\n", env)

    code_block = fence

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a link to the image, named by its description."""
        token = tokens[idx]
        source = str(token.attrGet("src") or "")
        name = self.renderInlineAsText(token.children or [], options, env) or source
        html = f'<a href="{escape(source)}">{escape(name)}</a>'
        return _counted(html, env, LINK_OVERHEAD)


_renderer = _Renderer()


def _counted(html: str, env: Env, more: int = 0) -> str:
    """Return HTML that is written, and `more` characters that nh3 adds. Raises `OverLimit`."""
    budget: Budget = env[BUDGET]
    budget.check_time()
    budget.write(len(html) + more)
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
    html = []
    # The first begins where the text does, whatever stands before it.
    for block, (start, end) in zip(blocks, pairwise([*starts, rest]), strict=True):
        budget.allow_output(end - start)
        _set_attributes(block, end)
        try:
            part = _renderer.render(block, OPTIONS, env)
        except OverLimit:
            rest = start
            break
        html.append(_cleaner.clean(part))
    return "".join(html) + plain(text, rest)


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
    """Write into a block of the top level where it ends (code points), and align its cells."""
    first = block[0]
    if first.type not in ("fence", "code_block"):
        first.attrSet("dir", "auto")
    first.attrSet("data-end", str(end))
    for token in block:
        if token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("align", style.removeprefix("text-align:"))


def _link(element: str, attribute: str, value: str) -> str | None:
    """Return a link's address, or None for one within this service or of another scheme.

    Following a link within this service could start a reply.
    """
    if attribute != "href" or value.lower().startswith(
        ("http://", "https://", "mailto:")
    ):
        return value
    return None


_cleaner = nh3.Cleaner(
    tags=TAGS,
    clean_content_tags={"script", "style"},
    attributes=ATTRIBUTES,
    attribute_filter=_link,
    link_rel=LINK_ATTRIBUTES["rel"],
    set_tag_attribute_values={"a": {"target": LINK_ATTRIBUTES["target"]}},
)
