"""A rule of markdown-it: items of lists that begin with `[ ]` or `[x]` are tasks.

It is that of GitHub Flavored Markdown (section 5.3). The tokens `task_open` and `task_close` stand
around what the first paragraph of the item says, which names the checkbox; `CHECKED` in the `meta`
of the first says whether the task is done.
"""

from __future__ import annotations

import re

from markdown_it.rules_core import StateCore
from markdown_it.token import Token

CHECKED = "checked"
"""The key of whether a task is done, in the `meta` of a `task_open`."""

_mark = re.compile(r"\[([ xX])\][ \t]+(?=\S)")


def find_tasks(state: StateCore) -> None:
    """Put the tokens of tasks into those of blocks. It comes before the inlines are parsed."""
    tokens: list[Token] = []
    for token in state.tokens:
        before = [earlier.type for earlier in tokens[-2:]]
        mark = None
        if token.type == "inline" and before == ["list_item_open", "paragraph_open"]:
            mark = _mark.match(token.content)
        if mark is None:
            tokens.append(token)
            continue
        token.content = token.content[mark.end() :]
        tokens += [
            Token("task_open", "label", 1, meta={CHECKED: mark[1] != " "}),
            token,
            Token("task_close", "label", -1),
        ]
    state.tokens = tokens
