"""The ids in a reply's HTML: each of one element on a page, and each link to one leads there."""

from __future__ import annotations

import re
from collections.abc import Collection

ID = r"fn(?:ref)?-[0-9]{1,6}(?:-[0-9]{1,6})?"
"""A regular expression for the ids that rendered HTML has: of footnotes, and of what refers to them."""

_tag = re.compile(r"<(?:a|li) [^<>]*>")

_id = re.compile(r' (id="|href="#)(fn(?:ref)?)(?=-[0-9-]+")')

_id_of = re.compile(rf' id="({ID})"')

_note = re.compile(rf' href="#({ID})"')


def with_reply_ids(html: str, reply: str) -> str:
    """Return rendered HTML in which each id has that of the reply in it.

    `fn-1` becomes `fn-<reply>-1`, and so do the links that lead to it. Text and the values of other
    attributes stay as they are: in these, `<` or quotation marks are escaped.
    """
    if ' id="fn' not in html:
        return html
    return _tag.sub(lambda tag: _id.sub(rf" \1\2-{reply}", tag[0]), html)


def ids_in(html: str) -> set[str]:
    """Return the ids of footnotes, and of what refers to them, that rendered HTML has."""
    return {match[1] for tag in _tag.findall(html) if (match := _id_of.search(tag))}


def without_dead_links(html: str, ids: Collection[str]) -> str:
    """Return rendered HTML in which no link leads to an id that is not in `ids`.

    A limit may have cut off a footnote, or what refers to it.
    """
    return _tag.sub(
        lambda tag: _note.sub(lambda note: note[0] if note[1] in ids else "", tag[0]),
        html,
    )
