"""The elements and attributes that rendered HTML may have; all others are removed, by nh3."""

from __future__ import annotations

import re

import nh3

from chatsvc.rendering.mathml import ELEMENTS
from chatsvc.rendering.reply_ids import ID

TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "br", "blockquote"),
    *("ul", "ol", "li", "pre", "code", "span", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("div", "section", "sup", "label", "input"),
    *ELEMENTS,
}
"""The elements that the HTML may have."""

ATTRIBUTES = {
    "*": {"data-end", "dir"},
    "a": {"href", "id", "role", "title"},
    "code": {"class"},
    "div": {"class"},
    "input": {"checked", "disabled", "type"},
    "li": {"id", "value"},
    "ol": {"start"},
    "section": {"class"},
    "span": {"class"},
    "td": {"align"},
    "th": {"align"},
    **{element: set(attributes) for element, attributes in ELEMENTS.items()},
}
"""The attributes that each element may have; those under `*` may stand on all."""

VALUES = {
    ("a", "href"): rf"(?:https?://|mailto:).*|#{ID}",
    ("a", "id"): ID,
    ("a", "role"): "doc-noteref|doc-backlink",
    ("div", "class"): "formula",
    ("li", "id"): ID,
    ("li", "value"): "[0-9]{1,6}",
    ("section", "class"): "footnotes",
    **{
        (element, attribute): values
        for element, attributes in ELEMENTS.items()
        for attribute, values in attributes.items()
    },
}
"""What the values of attributes must match, as a regular expression; of others, all are allowed.

A link leads to another site or to a footnote. One that leads to this service could start a reply.
"""

NEW_TAB = {"target": "_blank"}
"""What the attributes of links to other sites are. `clean` allows no other `target`, and adds none."""

CHECKBOX = {"type": "checkbox", "disabled": ""}
"""The attributes that `clean` gives each `input`. Where they stand already, their order stays: it would
be another one in each process, and a page lays out anew what differs from before."""

LINK_REL = "noopener noreferrer nofollow"
"""What every link gets for `rel`."""

LINK_OVERHEAD = len(f' rel="{LINK_REL}"')
"""Characters of HTML that `clean` adds to a link."""

_values = {
    place: re.compile(values, re.IGNORECASE | re.DOTALL)
    for place, values in VALUES.items()
}


def clean(html: str) -> str:
    """Return HTML without the elements, attributes and values that are not allowed."""
    return _cleaner.clean(html)


def _allowed(element: str, attribute: str, value: str) -> str | None:
    """Return the value of an attribute, or None if the attribute may not have it."""
    values = _values.get((element, attribute))
    return value if values is None or values.fullmatch(value) else None


_cleaner = nh3.Cleaner(
    tags=TAGS,
    clean_content_tags={"script", "style"},
    attributes=ATTRIBUTES,
    attribute_filter=_allowed,
    link_rel=LINK_REL,
    tag_attribute_values={"a": {"target": {"_blank"}}},
    set_tag_attribute_values={"input": CHECKBOX},
)
