"""What a renderer's child is asked about the blocks of a growing text, and what it answers.

Both go as JSON, in the messages of `chatsvc.rendering.frames`. All places are code points.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatsvc.rendering.escaping import plain
from chatsvc.rendering.limits import MAX_CELLS, MAX_COLOURED, OUTPUT_ALLOWANCE


class Past(msgspec.Struct, omit_defaults=True):
    """What the blocks before a place in a text leave to those behind it.

    `references` are the definitions of links, by their names, as markdown-it has them; `footnotes` is
    the number of definitions of footnotes. `cells`, `colourable` and `output` are what is left of the
    limits of the whole text (`chatsvc.rendering.limits.Budget`).
    """

    references: dict[str, dict[str, Any]] = {}
    footnotes: int = 0
    cells: int = MAX_CELLS
    colourable: int = MAX_COLOURED
    output: int = OUTPUT_ALLOWANCE


class Asked(msgspec.Struct, omit_defaults=True):
    """The text behind some finished blocks, which is to be rendered.

    `whole` is whether nothing follows it any more.
    """

    text: str
    whole: bool
    past: Past


class Block(msgspec.Struct, array_like=True):
    """A block of the top level as HTML: the text from `start` up to `end`.

    `close` is None if the block is finished. Else more of it can follow: what is shown is `html` and
    `close`, which has end tags alone, and what follows goes between them.
    """

    start: int
    end: int
    html: str
    close: str | None = None

    @property
    def shown(self) -> str:
        """The HTML of the whole block."""
        return self.html + (self.close or "")


class Answered(msgspec.Struct):
    """The blocks of a text that was asked about, in order.

    `stable` is the place of the text from which on blocks may still change, `past` is what those before
    it leave to others, and `defines` is whether the text defines links or footnotes, which may change
    blocks before them. `seconds` of CPU is what the rendering took.
    """

    blocks: list[Block]
    stable: int
    past: Past
    defines: bool
    seconds: float = 0.0


def plain_blocks(asked: Asked) -> Answered:
    """Return the blocks of a text that could not be rendered: one, of plain text."""
    text = asked.text if asked.whole else asked.text.rstrip()
    blocks: list[Block] = []
    if text.strip():
        html = plain(text, with_end=False)
        close = None
        if not asked.whole:
            html, close = html.removesuffix(_PLAIN_CLOSE + "\n"), _PLAIN_CLOSE
        blocks.append(Block(0, len(text), html, close))
    return Answered(blocks, 0, asked.past, defines=False)


_PLAIN_CLOSE = "</code></pre>"
