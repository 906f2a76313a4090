"""Markdown that costs a renderer much: for its length in code points, a text of each kind."""

from __future__ import annotations

from collections.abc import Callable


def _head(columns: int) -> str:
    return "|a" * columns + "\n" + "|-" * columns + "\n"


POISON: dict[str, Callable[[int], str]] = {
    "quotations": lambda n: "> " * (n // 2) + "a",
    "quotations without spaces": lambda n: ">" * n,
    "lazy quotation": lambda n: "> " * 17 + "a\n" + "b\n" * (n // 2),
    "lists in lists": lambda n: "- " * (n // 2) + "a",
    "stairs": lambda n: "".join("  " * i + "- a\n" for i in range(int(n**0.5))),
    "lists in quotations": lambda n: "> - " * (n // 4) + "a",
    "items": lambda n: "- a\n" * (n // 4),
    "paragraphs": lambda n: "a\n\n" * (n // 3),
    "lines": lambda n: "a\n" * (n // 2),
    "headings": lambda n: "# a\n" * (n // 4),
    "underlined": lambda n: "a\n=\n" * (n // 4),
    "rules": lambda n: "***\n" * (n // 4),
    "brackets": lambda n: "[" * n,
    "images": lambda n: "![" * (n // 2),
    "brackets in brackets": lambda n: (
        "[x]: y\n\n" + "[" * (n // 2) + "a" + "]" * (n // 2)
    ),
    "open links": lambda n: "[a](" * (n // 4),
    "links": lambda n: "[a](http://b) " * (n // 14),
    "long address": lambda n: "[a](http://" + "好" * n + "/)",
    "titles": lambda n: '[a](b "' * (n // 7),
    "stars": lambda n: "*" * n + "a",
    "stars that open": lambda n: "*a " * (n // 3),
    "stars that close": lambda n: "a* " * (n // 3),
    "stars that do both": lambda n: "a**b" * (n // 4),
    "stars and underscores": lambda n: "*_" * (n // 2),
    "emphasis in emphasis": lambda n: "*a " * (n // 6) + " b*" * (n // 6),
    "odd stars": lambda n: "a***b* c**" * (n // 10),
    "tildes": lambda n: "~~a " * (n // 4),
    "backticks": lambda n: " ".join("`" * i for i in range(1, int((2 * n) ** 0.5))),
    "backslashes": lambda n: "\\" * n,
    "table of empty cells": lambda n: _head(64) + "|\n" * (n // 2),
    "square table": lambda n: _head(int(n**0.5) // 2) + "|\n" * (n // 4),
    "wide table": lambda n: _head(n // 4),
    "long table": lambda n: _head(4) + "|a|b|c|d|\n" * (n // 10),
    "no table": lambda n: "|" * (n // 3) + "\n" + "|-" * (n // 3) + "\n",
    "definitions": lambda n: "".join(f"[a{i}]: b\n" for i in range(n // 10)),
    "one definition for many": lambda n: (
        f"[a]: {'b' * (n // 2)}\n\n" + "[a] " * (n // 8)
    ),
    "one title for many": lambda n: (
        f"[a]: b '{'c' * (n // 2)}'\n\n" + "[a] " * (n // 8)
    ),
    "open definitions": lambda n: "[a]: b (\n" * (n // 9),
    "open labels": lambda n: "[a\n" * (n // 3),
    "entities": lambda n: "&amp;" * (n // 5),
    "ampersands": lambda n: "&" * n,
    "dollars": lambda n: "$" * n,
    "open formulas": lambda n: "$a " * (n // 3),
    "formulas": lambda n: "$a$ " * (n // 4),
    "displayed formulas": lambda n: "$$a\n" * (n // 4),
    "open displayed formulas": lambda n: "\\[a\n" * (n // 4),
    "open displayed formulas in items": lambda n: "- \\[\n" * (n // 5),
    "open formulas in brackets": lambda n: "\\(a " * (n // 4),
    "deep formulas": lambda n: ("$" + "\\hat " * 390 + "x$\n\n") * (n // 1950),
    "primes": lambda n: ("$x" + "'" * 1900 + "$\n\n") * (n // 1906),
    "cells of formulas": lambda n: (
        ("$\\begin{matrix}" + "&" * 1900 + "\\end{matrix}$\n\n") * (n // 1935)
    ),
    "commands of formulas": lambda n: (
        ("$\\def\\a{" + "x" * 900 + "}" + "\\a" * 500 + "$\n\n") * (n // 1920)
    ),
    "addresses": lambda n: "http://a " * (n // 9),
    "open addresses": lambda n: "http://a/(" * (n // 10),
    "addresses in Chinese": lambda n: "http://a/字(http://b/" * (n // 18),
    "www": lambda n: "www." * (n // 4),
    "references to footnotes": lambda n: "[^a]" * (n // 4) + "\n\n[^a]: x",
    "footnotes": lambda n: "[^a]: x\n" * (n // 8),
    "footnotes of footnotes": lambda n: "".join(
        f"[^{i}]: [^{i + 1}]\n" for i in range(n // 14)
    ),
    "footnotes in footnotes": lambda n: "[^a]: " * (n // 6),
    "tasks": lambda n: "- [ ] a\n" * (n // 8),
    "tasks in tasks": lambda n: "- [ ] " * (n // 6),
    "emphasis beside Chinese": lambda n: "注**（" * (n // 4),
    "ampersands in code": lambda n: "```\n" + "&" * n + "\n```\n",
    "no-break spaces": lambda n: "a\xa0" * (n // 2),
    "long entity": lambda n: "&#" + "1" * n + ";",
    "autolinks": lambda n: "<http://a>" * (n // 10),
    "angle brackets": lambda n: "<" * n,
    "comments": lambda n: "<!--" * (n // 4),
    "fences": lambda n: "```\n" * (n // 4),
    "fences of code": lambda n: "```py\nx\n```\n" * (n // 12),
    "unknown languages": lambda n: "".join(
        f"```l{i}\nx\n```\n" for i in range(n // 16)
    ),
    "blank C": lambda n: "```c\nx" + " " * min(n, 8000) + "\n```\n",
    "blank INI": lambda n: "```ini\nx" + " " * min(n, 8000) + "\n```\n",
    "parentheses in make": lambda n: "```make\n" + "(" * min(n, 8000) + "\n```\n",
    "nulls": lambda n: "\0" * n,
    "spaces": lambda n: " " * n + "a",
    "tabs": lambda n: "\t" * n + "a",
}
"""Kinds of texts by their names."""
