"""A reply's Markdown as HTML that does no harm, whatever the model wrote.

The Markdown is CommonMark with tables and strikethrough.

Invariants:
- HTML in the Markdown is text: markdown-it escapes it. nh3 cleans the result nevertheless, so that
  a mistake in one of them does no harm.
- The page loads nothing and sends no request to this service. An image becomes a link, because its
  address can carry the conversation to a stranger. A link leads to `http`, `https` or `mailto`, or
  it is plain text.
- Nothing needs an inline style: code is coloured by classes, cells are aligned by attributes.
- Each block of the top level says in `data-end` at which position (code points) of the text it
  ends, so a page can show the finished blocks as HTML and what follows as text. In a growing reply
  the last block is not finished: a line that follows may make another block of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from html import escape
from itertools import accumulate, pairwise
from typing import Any

import nh3
from aiohttp import web
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from chatsvc.replies import Reply
from chatsvc.transports.response import STREAM_HEADERS
from chatsvc.transports.templates import TEMPLATES

LONGEST_COLOURED = 8 * 1024
"""Code points of a code block up to which it is coloured: some lexers take quadratic time."""

MOST_COLOURED = 32 * 1024
"""Code points of code that are coloured in one reply."""

COLOURED = {
    *("bash", "c", "clojure", "console", "cpp", "csharp", "css", "dart", "diff"),
    *("docker", "elixir", "go", "graphql", "haskell", "html", "ini", "java"),
    *("javascript", "json", "julia", "kotlin", "lua", "make", "markdown", "matlab"),
    *("nginx", "perl", "php", "powershell", "protobuf", "python", "ruby"),
    *("rust", "scala", "scss", "splus", "sql", "swift", "tex", "toml"),
    *("typescript", "xml", "yaml", "zig"),
}
"""The languages that are coloured, by Pygments' first name for each.

Of its several hundred, many take seconds for a page of nonsense.
"""

HTML_HEADERS = {
    **STREAM_HEADERS,
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""The headers of a reply as HTML: opened by itself it runs and loads nothing, either."""

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

COLOURABLE = "colourable"
"""The key, in the environment of one rendering, of how many code points may still be coloured."""

Env = MutableMapping[str, Any]
"""The type of the environment that markdown-it passes to the functions that render tokens."""

_formatter = HtmlFormatter[str](nowrap=True)


def _coloured(code: str, language: str, env: Env) -> str:
    """Return code as HTML, coloured by the classes of Pygments where its language is known.

    `env` has how much may still be coloured.
    """
    lexer = _lexer(language) if language else None
    if lexer is None or len(code) > min(LONGEST_COLOURED, env[COLOURABLE]):
        return escape(code, quote=False)
    env[COLOURABLE] -= len(code)
    return str(highlight(code, lexer, _formatter))


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return lexer if lexer.aliases[0] in COLOURED else None


class _Renderer(RendererHTML):
    """markdown-it's renderer, with other code blocks and images."""

    def fence(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a block of code as `code` in `pre`, to which a page can add a copy button."""
        token = tokens[idx]
        language = token.info.split()[0].lower() if token.info.strip() else ""
        kind = f' class="language-{escape(language)}"' if language else ""
        code = _coloured(token.content, language, env)
        return f"<pre{self.renderAttrs(token)}><code{kind}>{code}</code></pre>\n"

    code_block = fence

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Env
    ) -> str:
        """Return a link to the image, named by its description."""
        token = tokens[idx]
        source = str(token.attrGet("src") or "")
        name = self.renderInlineAsText(token.children or [], options, env) or source
        return f'<a href="{escape(source)}">{escape(name)}</a>'


_markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(
    ["table", "strikethrough"]
)


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
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


@lru_cache(maxsize=8)
def render(text: str) -> str:
    """Return a reply's Markdown as safe HTML, block by block.

    `text` has clean line ends, as every log has.
    """
    tokens = _markdown.parse(text)
    _mark_ends(tokens, text)
    for token in tokens:
        if token.type in ("th_open", "td_open"):
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrSet("align", style.removeprefix("text-align:"))
    env = {COLOURABLE: MOST_COLOURED}
    return _cleaner.clean(_markdown.renderer.render(tokens, _markdown.options, env))


def _mark_ends(tokens: Sequence[Token], text: str) -> None:
    """Write into each block of the top level where it ends, which is where the next one begins."""
    lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    blocks = [
        token
        for token in tokens
        if token.level == 0 and token.nesting >= 0 and token.map
    ]
    for block in blocks:
        if block.type not in ("fence", "code_block"):
            block.attrSet("dir", "auto")
    for block, following in pairwise(blocks):
        block.attrSet("data-end", str(lines[(following.map or [0])[0]]))
    if blocks:
        blocks[-1].attrSet("data-end", str(len(text)))


_renderer_thread = ThreadPoolExecutor(1, "chatsvc-markdown")
"""The thread that renders beside the event loop, so that no stream waits for it.

There is one, so that rendering never takes all processors.
"""


async def html_response(reply: Reply) -> web.Response:
    """Return the released text of a reply as a page of HTML."""
    text = reply.log.text(0, reply.released_now())
    loop = asyncio.get_running_loop()
    body = await loop.run_in_executor(_renderer_thread, render, text)
    page = TEMPLATES.get_template("reply.html").render(body=Markup(body))
    return web.Response(
        text=page,
        content_type="text/html",
        headers={**HTML_HEADERS, "X-Reply-Id": reply.id},
    )
