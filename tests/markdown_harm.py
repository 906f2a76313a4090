"""What rendered Markdown must never hold, whatever a model writes."""

from __future__ import annotations

from html.parser import HTMLParser

from chatsvc.transports.html import ATTRIBUTES, TAGS

VOID = {"br", "hr"}
LINKS = ("http://", "https://", "mailto:")


class Reader(HTMLParser):
    """Reads HTML as strictly as it can be read: every tag known, closed, and in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ends: list[int] = []
        self.code: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An opening tag."""
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
        """A closing tag."""
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data
        if "pre" in self.open:
            self.code[-1] += data

    def handle_comment(self, data: str) -> None:
        """A comment, which nothing writes."""
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        """A declaration."""
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        """A processing instruction."""
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        """A marked section."""
        raise AssertionError(data)


def read(text: str, html: str) -> Reader:
    """Read what was rendered of `text`. Raises `AssertionError` for anything that could do harm."""
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
