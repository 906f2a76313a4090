"""The ids in a reply's HTML, so that those of several replies can stand on one page."""

from __future__ import annotations

import re

ID = r"fn(?:ref)?-[0-9]{1,6}(?:-[0-9]{1,6})?"
"""A regular expression for the ids that rendered HTML has: of footnotes, and of what refers to them."""

_tag = re.compile(r"<(?:a|li) [^<>]*>")

_id = re.compile(r' (id="|href="#)(fn(?:ref)?)(?=-[0-9-]+")')


def with_reply_ids(html: str, reply: str) -> str:
    """Return rendered HTML in which each id has that of the reply in it.

    `fn-1` becomes `fn-<reply>-1`, and so do the links that lead to it. Text and the values of other
    attributes stay as they are: in these, `<` or quotation marks are escaped.
    """
    if ' id="fn' not in html:
        return html
    return _tag.sub(lambda tag: _id.sub(rf" \1\2-{reply}", tag[0]), html)
