"""A check that rendered Markdown holds nothing harmful, whatever a model writes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from chatsvc.rendering.cleaning import ATTRIBUTES, TAGS
from chatsvc.rendering.mathml import ELEMENTS

VOID = {"br", "hr", "input"}
LINKS = ("http://", "https://", "mailto:")
NOTE = re.compile(r"#fn(ref)?-[0-9]+(-[0-9]+)?")
MATH_VALUE = re.compile(
    r"[a-z-]+|[a-z]+( [a-z]+)*|line-[a-z]+( line-[a-z]+)*"
    r"|[+-]?[0-3]|#[0-9A-Fa-f]{6}|-?[0-9]{1,2}(\.[0-9]+)?(em|ex|rem|px|pt)?"
)
"""The values of MathML's attributes: words, numbers, lengths and colours; no address and no code."""
FORBIDDEN = {"style", "src", "srcset", "action", "formaction", "xlink:href", "xmlns"}


class Reader(HTMLParser):
    """A strict HTML parser: every tag must be known, closed, and properly nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ends: list[int] = []
        self.code: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an opening tag. Raises `AssertionError` for a tag, attribute or link not allowed."""
        if tag not in TAGS or (tag in ELEMENTS and tag != "math") != self._in_math():
            raise AssertionError(f"<{tag}> in {self.open}")
        allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set())
        if tag == "a":
            allowed |= {"rel", "target"}
        if tag == "input":
            allowed |= {"type", "disabled"}
            if ("type", "checkbox") not in attrs or ("disabled", "") not in attrs:
                raise AssertionError(attrs)
        for name, value in attrs:
            if name not in allowed or name in FORBIDDEN or name.startswith("on"):
                raise AssertionError(f"<{tag} {name}={value}>")
            self._check_value(tag, name, value or "")
            if name == "data-end":
                self.ends.append(int(value or ""))
                if self.open:
                    raise AssertionError("data-end inside of a block")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "pre":
            self.code.append("")

    def _in_math(self) -> bool:
        """Return whether an element that begins here would stand within a formula."""
        return "math" in self.open

    def _check_value(self, tag: str, name: str, value: str) -> None:
        """Raise `AssertionError` for a value that an attribute may not have."""
        if name == "href" and not value.lower().startswith(LINKS):
            if not NOTE.fullmatch(value):
                raise AssertionError(value)
            self.targets.add(value[1:])
        if name == "id":
            if not NOTE.fullmatch(f"#{value}"):
                raise AssertionError(value)
            if value in self.ids:
                raise AssertionError(f"two elements are {value}")
            self.ids.add(value)
        is_math = tag in ELEMENTS and name not in ("encoding", "data-end")
        if is_math and not MATH_VALUE.fullmatch(value):
            raise AssertionError(f"<{tag} {name}={value}>")

    def handle_endtag(self, tag: str) -> None:
        """Take a closing tag. Raises `AssertionError` if it does not close the innermost one."""
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Take text; collect the text of code blocks also by itself."""
        self.text += data
        if "pre" in self.open:
            self.code[-1] += data

    def handle_comment(self, data: str) -> None:
        """Raise `AssertionError`: the renderer writes no comments."""
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        """Raise `AssertionError`: the renderer writes no declarations."""
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        """Raise `AssertionError`: the renderer writes no processing instructions."""
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        """Raise `AssertionError`: the renderer writes no marked sections."""
        raise AssertionError(data)


def read(text: str, html: str) -> Reader:
    """Parse `html`, which was rendered from `text`, and return the parser.

    Raises `AssertionError` for anything harmful, and for wrong `data-end` positions.
    """
    reader = Reader()
    reader.feed(html)
    reader.close()
    if reader.open:
        raise AssertionError(reader.open)
    if reader.ends != sorted(set(reader.ends)) or reader.ends[-1:] not in (
        [],
        [len(text)],
    ):
        raise AssertionError(reader.ends)
    return reader
