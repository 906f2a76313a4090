"""Markdown that grows: a page that applies block events, and texts by strategy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from html import escape, unescape
from typing import Any

from hypothesis import strategies as st

from chatsvc.rendering.block_messages import Block
from chatsvc.rendering.blocks import render_blocks
from chatsvc.rendering.growing_blocks import GrowingBlocks
from chatsvc.rendering.safe_characters import safe_length

END_TAGS = re.compile(r"(?:</[a-z0-9]+>)*")

_not_text = re.compile(r"<annotation.*?</annotation>|<[^>]*>", re.DOTALL)

_code = re.compile(r"<code[ >].*?</code>", re.DOTALL)


class Page:
    """A page as PROTOCOL.md section 4 wants it: it applies the events of blocks, and draws between them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._last: Block | None = None

    def apply(self, event: dict[str, Any]) -> None:
        assert event["type"] == "block"
        start, html, last = event["from"], event["html"], self._last
        if "keep" in event:
            assert last is not None and last.start == start
            units = last.html.encode("utf-16-le")[: 2 * event["keep"]]
            html = units.decode("utf-16-le") + html
        block = Block(start, event["to"], html, event.get("close"))
        assert block.close is None or END_TAGS.fullmatch(block.close)
        kept = [one for one in self.blocks if one.start < start]
        self.blocks, self._last = [*kept, block], block

    @property
    def html(self) -> str:
        return "".join(block.shown for block in self.blocks)

    def drawn(self, text: str) -> str:
        """Return the HTML with the characters of `text` that may be drawn behind the last block."""
        if not self.blocks or self.blocks[-1].close is None:
            return self.html
        *before, last = self.blocks
        close = last.close or ""
        count = safe_length(text, last.end, close.startswith("</code>"))
        more = escape(text[last.end : last.end + count], quote=False)
        return "".join(block.shown for block in before) + last.html + more + close


def visible(html: str, *, code: bool = True) -> str:
    """Return the text that HTML shows, with all blank space as one space; without `code` if so wanted."""
    found = html if code else _code.sub("", html)
    return " ".join(unescape(_not_text.sub("", found)).split())


def without_ends(html: str) -> str:
    return re.sub(r' data-end="\d+"', "", html)


class Growing:
    """A text that is rendered at some of its places, as a node does."""

    def __init__(
        self, text: str, clock: Callable[[], float] = time.process_time
    ) -> None:
        self.text = text
        self.clock = clock
        self.blocks = GrowingBlocks()

    def render(self, place: int, *, whole: bool = False) -> int:
        """Render the text up to a place; return the index of the first block that has changed."""
        first = len(self.blocks.blocks)
        while True:
            asked = self.blocks.ask(self._between, place, whole=whole)
            changed = self.blocks.take(asked, render_blocks(asked, clock=self.clock))
            if changed is None:
                continue
            first = min(first, changed)
            if self.blocks.settled if whole else self.blocks.rendered >= place:
                return first

    def _between(self, start: int, end: int) -> str:
        return self.text[start:end]

    def render_all(self, places: Iterable[int]) -> None:
        for place in places:
            self.render(place)
        self.render(len(self.text), whole=True)


_marks = (
    *(
        "*",
        "**",
        "_",
        "`",
        "```",
        "~~",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "> ",
        "#",
        " ",
        "  ",
    ),
    *("|", "|-|", "[", "]", "(", ")", "$", "$$", "\\", "<", "&amp;", ":", "!", "---"),
    *("===", "    ", "[x]: /u\n", "[x]", "[^1]", "[^1]: n\n", "www.a.b", "https://a.b"),
    *("a", "b", "1", "你", "。", "😀", "\ue000", "\u00a0"),
)

wild = st.lists(st.sampled_from(_marks), max_size=25).map("".join)
"""Any marks in any order."""

_words = st.lists(
    st.sampled_from(
        ["alpha", "beta", "the", "42", "3.14", "你好", "世界", "it's", "I"]
    ),
    min_size=1,
    max_size=5,
).map(" ".join)

_inline = st.lists(
    st.one_of(
        _words,
        _words.map(lambda words: f"{words},"),
        _words.map(lambda words: f"**{words}**"),
        _words.map(lambda words: f"*{words}*"),
        _words.map(lambda words: f"***{words}***"),
        _words.map(lambda words: f"~~{words}~~"),
        _words.map(lambda words: f"`{words}`"),
        _words.map(lambda words: f"[{words}](https://a.example/x)"),
        _words.map(lambda words: f"**a *{words}* b**"),
        st.sampled_from(
            [
                r"$x^2 + \alpha$",
                r"\(a_1\)",
                "$$e = 1$$",
                "https://a.example/b?c=d",
                "R&D",
                "1 < 2",
                r"2 \* 3",
                "&copy;",
                "**注意：**请看",
                "costs $5 now",
                "![image](https://a.example/i.png)",
                "Well!",
            ]
        ),
    ),
    min_size=1,
    max_size=5,
).map(" ".join)

_lines = st.lists(_inline, min_size=1, max_size=3)

_cell = st.one_of(_words, _words.map(lambda words: f"**{words}**"), st.just("`c`"))

_table = st.integers(1, 3).flatmap(
    lambda columns: st.lists(
        st.lists(_cell, min_size=columns, max_size=columns).map(
            lambda cells: f"| {' | '.join(cells)} |"
        ),
        min_size=2,
        max_size=4,
    ).map(lambda rows: "\n".join([rows[0], "|" + "---|" * columns, *rows[1:]]))
)

_code_lines = st.lists(
    st.sampled_from(
        ["x = 1", "def f(a):", "    return `a`", "", "# **", "| p |", "~~"]
    ),
    max_size=5,
)

_block = st.one_of(
    _lines.map("\n".join),
    _words.map(lambda words: f"## {words}"),
    _lines.map(lambda lines: "\n".join(f"- {line}" for line in lines)),
    _lines.map(
        lambda lines: "\n".join(f"{n}. {line}" for n, line in enumerate(lines, 1))
    ),
    _lines.map(lambda lines: "- a\n" + "\n".join(f"  - {line}" for line in lines)),
    _lines.map(lambda lines: "\n\n".join(f"- {line}" for line in lines)),
    _lines.map(lambda lines: "\n".join(f"> {line}" for line in lines)),
    _words.map(lambda words: f"- [ ] {words}\n- [x] {words}"),
    _table,
    _code_lines.map(lambda lines: "\n".join(["```python", *lines, "```"])),
    _code_lines.map(
        lambda lines: "\n".join(["- a", "  ~~~", *(f"  {x}" for x in lines), "  ~~~"])
    ),
    st.sampled_from(["---", "$$\nx = \\frac{1}{2}\n= 3\n$$", "\\[\na\n\\]"]),
)

well_formed = st.lists(_block, min_size=1, max_size=4).map("\n\n".join)
"""Markdown as a model writes it: each mark that opens something is closed."""
