"""The positions in a server's text, as positions in the answer's text as it stands in the log. Pure."""

from __future__ import annotations

from bisect import bisect_left

from chatsvc.model import File, Source


class TextPlaces:
    r"""The places in one answer's text at which the log has fewer code points than the server.

    There `\r\n` is `\n` (PROTOCOL.md section 1). Reasoning that stood in the text is missing, too.
    `length` counts the server's code points. It may be raised by those of a piece, in place of `add`,
    unless there is a `\r` in the piece or the text so far `ends_open`.
    """

    __slots__ = ("_after_return", "_returns", "length")

    def __init__(self) -> None:
        self.length = 0
        self._after_return = False  # the text so far ends with `\r`
        self._returns: list[int] = []  # the position of the `\r` of each `\r\n`

    @property
    def ends_open(self) -> bool:
        r"""Whether the text so far ends with `\r`."""
        return self._after_return

    def add(self, text: str) -> None:
        """Note the next piece of the server's text, which is not empty."""
        if self._after_return or "\r" in text:
            if self._after_return and text[0] == "\n":
                self._returns.append(self.length - 1)
            at = text.find("\r\n")
            while at >= 0:
                self._returns.append(self.length + at)
                at = text.find("\r\n", at + 2)
            self._after_return = text[-1] == "\r"
        self.length += len(text)

    def of(self, piece: Source | File, removed: int) -> Source | File:
        """Return a source whose `start` and `end` are positions (see `position`); or a file as it is."""
        if isinstance(piece, File) or piece.start is None or piece.end is None:
            return piece
        start, end = (self.position(at, removed) for at in (piece.start, piece.end))
        return Source(piece.url, piece.title, start, end)

    def position(self, index: int, removed: int) -> int:
        """Return the position in the answer that stands at `index` of the server's text.

        `removed` is how many code points at the beginning of that text are not in the answer.
        """
        if index <= removed:
            return 0
        before = bisect_left(self._returns, index) - bisect_left(self._returns, removed)
        return index - removed - before
