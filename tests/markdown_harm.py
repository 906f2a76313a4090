"""A check that rendered Markdown holds nothing harmful, whatever a model writes."""

from __future__ import annotations

from html.parser import HTMLParser

from chatsvc.rendering.markdown import ATTRIBUTES, TAGS

VOID = {"br", "hr"}
LINKS = ("http://", "https://", "mailto:")


class Reader(HTMLParser):
    """A strict HTML parser: every tag must be known, closed, and properly nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ends: list[int] = []
        self.code: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an opening tag. Raises `AssertionError` for a tag, attribute or link not allowed."""
        if tag not in TAGS:
            raise AssertionError(f"<{tag}>")
        allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()) | {"rel", "target"}
        for name, value in attrs:
            if name not in allowed:
                raise AssertionError(f"<{tag} {name}={value}>")
            if name == "href" and not (value or "").lower().startswith(LINKS):
                raise AssertionError(value)
            if name == "data-end":
                self.ends.append(int(value or ""))
                if self.open:
                    raise AssertionError("data-end inside of a block")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "pre":
            self.code.append("")

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
