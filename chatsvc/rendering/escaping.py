"""Text as HTML, in elements that are short enough for nh3."""

from __future__ import annotations

from html import escape

MAX_TEXT_NODE = 16 * 1024
"""Code points of a text within one element of HTML: to clean one takes nh3 quadratic time."""


def escaped(text: str) -> str:
    """Return text as HTML; a long one in several `span` elements."""
    if len(text) <= MAX_TEXT_NODE:
        return escape(text, quote=False)
    starts = range(0, len(text), MAX_TEXT_NODE)
    pieces = (escape(text[i : i + MAX_TEXT_NODE], quote=False) for i in starts)
    return "".join(f"<span>{piece}</span>" for piece in pieces)


def plain(text: str, start: int = 0, *, with_end: bool = True) -> str:
    """Return the text from a position (code points) on as one block of HTML, as it is written.

    `with_end` is whether the block says in `data-end` where it ends.
    """
    if start >= len(text):
        return ""
    end = f' data-end="{len(text)}"' if with_end else ""
    return (
        f'<pre dir="auto"{end}><code>{escape(text[start:], quote=False)}</code></pre>\n'
    )
