"""Code as HTML, coloured by classes of Pygments: `k`, `s`, `c`, `nf` and `mi`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_all_lexers, get_lexer_by_name
from pygments.token import STANDARD_TYPES, Token, _TokenType

from chatsvc.rendering.escaping import escaped
from chatsvc.rendering.limits import MAX_COLOURED_BLOCK, Budget

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


_CLASSES: dict[_TokenType, tuple[str, ...]] = {
    Token.Keyword: ("k", "kd", "kn", "kr", "kc", "kt", "ow"),
    Token.Literal.String: ("s", "s1", "s2", "sa", "sb", "se", "sd", "sh"),
    Token.Comment: ("c", "c1", "cm", "ch"),
    Token.Name.Function: ("nf", "nc", "nd", "fm"),
    Token.Literal.Number.Integer: ("mi", "mf", "mh", "il"),
}
"""The kind of token that stands for all of one colour, with Pygments' classes of these.

Each other class would be an element that looks like the text around it: half of the HTML of code.
"""

_COLOURS = {name: kind for kind, names in _CLASSES.items() for name in names}


def coloured(code: str, language: str, budget: Budget) -> str:
    """Return code as HTML: coloured where its language is known and short enough, else plain.

    `language` is a name of the language in lower case, or empty. Raises `OverLimit` when the
    budget's time is used up.
    """
    size = len(code)
    if (
        language in _names()
        and size <= min(MAX_COLOURED_BLOCK, budget.colourable)
        and not _long_blank.search(code)
    ):
        budget.colourable -= size
        return _highlighted(code, _lexer(language), budget)
    return escaped(code)


class _Pieces:
    """A file that `HtmlFormatter` writes to."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.write = self.pieces.append


_long_blank = re.compile(r"\s{200}")
"""Blank space over which some lexers, such as that of C, take seconds within one regular expression."""

_formatter = HtmlFormatter[str](nowrap=True)


def _highlighted(code: str, lexer: Lexer, budget: Budget) -> str:

    def tokens() -> Iterator[tuple[_TokenType, str]]:
        for kind, text in lexer.get_tokens(code):
            budget.check_time()
            yield _colour(kind), text

    out = _Pieces()
    _formatter.format(tokens(), out)
    return "".join(out.pieces)


@cache
def _colour(kind: _TokenType) -> _TokenType:
    """Return the kind of token that stands for the colour of another, `Token.Text` for none."""
    known: _TokenType | None = kind
    while known is not None and known not in STANDARD_TYPES:
        known = known.parent
    return _COLOURS.get(STANDARD_TYPES[known or Token], Token.Text)


@cache
def _names() -> frozenset[str]:
    """Return all names of the coloured languages.

    Pygments goes through all of its lexers for a name that it does not know.
    """
    return frozenset(
        name
        for _, names, _, _ in get_all_lexers(plugins=False)
        if names and names[0] in COLOURED
        for name in names
    )


@cache
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)
