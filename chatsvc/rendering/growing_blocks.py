"""The blocks of one growing text: what is to be rendered next, and what has changed with an answer.

    text ──► GrowingBlocks.ask ──► Asked ══ a child ══► Answered ──► GrowingBlocks.take ──► blocks

Invariants:
- Only what stands behind the finished blocks is rendered again. Where definitions come late, the whole
  text is rendered once more at its end.
- When the whole text has been rendered, the blocks have the HTML of `chatsvc.rendering.markdown.render`,
  without `data-end`.
- All places are code points of the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatsvc.rendering.block_messages import Answered, Asked, Block, Past

LONGEST_PIECE = 16 * 1024
"""Code points by which a rendering goes further than the one before: a child is to answer soon."""


class GrowingBlocks:
    """The blocks of what is out of one text, in order.

    `blocks` has them; the last one may be open. `rendered` is how much of the text they show, or hold
    back at its end. `size` is the number of characters of their HTML. `settled` is whether they are those of the whole text, and final. `defines` is
    whether the text defines links or footnotes.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.rendered = 0
        self.size = 0
        self.settled = False
        self.defines = False
        self._base = 0  # where the text behind the finished blocks begins
        self._stable = 0  # the number of these
        self._past = Past()

    def ask(self, text: Callable[[int, int], str], end: int, *, whole: bool) -> Asked:
        """Return what is to be rendered of a text that is there up to `end`.

        `text` returns what stands between two places. `whole` is whether the text goes no further. Of a
        long text it is a piece, and the next one when this has been taken.
        """
        upto = min(end, self.rendered + LONGEST_PIECE)
        if whole and upto == end and self.defines:
            self._forget()
        return Asked(text(self._base, upto), whole and upto == end, self._past)

    def take(self, asked: Asked, found: Answered) -> int | None:
        """Take the answer to what was asked last; return the index of the first block that has changed.

        Return None if the text has to be rendered once more, from its beginning.
        """
        base, stable = self._base, self._stable
        self.defines = self.defines or found.defines
        if asked.whole and found.defines and base:
            return None
        fresh = [
            Block(base + block.start, base + block.end, block.html, block.close)
            for block in found.blocks
        ]
        old = self.blocks[stable:]
        same = _same(old, fresh)
        gone = old[same : same + 1]
        if gone and (same == len(fresh) or fresh[same].start > gone[0].start):
            # Readers keep a block until another begins where it does.
            fresh.insert(same, Block(gone[0].start, gone[0].start, ""))
        self.blocks[stable:] = fresh
        self.size += _size(fresh) - _size(old)
        self.rendered = base + len(asked.text)
        if found.blocks:
            self._stable = len(self.blocks) - 1
        self._base, self._past = base + found.stable, found.past
        self.settled = asked.whole
        return stable + same

    def _forget(self) -> None:
        """Have the whole text be rendered next."""
        self._base = self._stable = 0
        self._past = Past()


def _size(blocks: Sequence[Block]) -> int:
    return sum(len(block.html) for block in blocks)


def _same(old: Sequence[Block], fresh: Sequence[Block]) -> int:
    """Return how many blocks are the same at the beginning of both."""
    for number, (a, b) in enumerate(zip(old, fresh, strict=False)):
        if a.start != b.start or a.html != b.html or a.close != b.close:
            return number
    return min(len(old), len(fresh))
