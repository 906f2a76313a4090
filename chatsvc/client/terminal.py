"""Text of others on a terminal: escapes and control characters are shown, not obeyed.

A model or a server may send what a terminal obeys: a colour, a new window title, a question that
the terminal answers as if the user had typed, an overwritten line, text that reads backwards.
Everything that the client prints goes through this module.

Invariants:
- What goes to a terminal has no control character but tab and line feed, but for the two sequences
  of `write_dim`'s own.
- What goes anywhere else (a pipe, a file) is unchanged.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

OBEYED = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f"  # C0 but tab and line feed, and DEL
    "\x80-\x9f"  # C1: \x9b begins an escape sequence as ESC [ does
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates: text reads backwards
    "\ud800-\udfff"  # no characters: bytes of a header that are no UTF-8, for one
    "]"
)
"""The characters that a terminal obeys instead of showing them (ECMA-48, Unicode UAX #9).

The marks for Arabic and Hebrew, and the joiners of emoji, are none of them.
"""


def visible(text: str) -> str:
    r"""Return `text` with each character of `OBEYED` as an escape of Python: `\x1b`, `\u202e`."""
    return OBEYED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def write_text(stream: TextIO, text: str) -> None:
    """Write a piece of a reply's text as UTF-8, `visible` if `stream` is a terminal.

    A lone surrogate becomes `?` elsewhere. Raises `BrokenPipeError` when nobody reads.
    """
    shown = visible(text) if stream.isatty() else text
    stream.flush()
    stream.buffer.write(shown.encode("utf-8", "replace"))
    stream.buffer.flush()


def write_dim(stream: TextIO, text: str) -> None:
    """Write a piece of text as `write_text` does, dim if `stream` is a terminal that has that.

    A terminal named `dumb` shows it as it is. Raises `BrokenPipeError` when nobody reads.
    """
    dims = stream.isatty() and os.environ.get("TERM") != "dumb"
    shown = visible(text) if stream.isatty() else text
    # [ECMA-48, 8.3.117] 2 is faint, 22 neither bold nor faint.
    styled = f"\x1b[2m{shown}\x1b[22m" if dims else shown
    stream.flush()
    stream.buffer.write(styled.encode("utf-8", "replace"))
    stream.buffer.flush()


def print_line(stream: TextIO, line: str) -> None:
    """Print a line, in the stream's encoding, `visible` if `stream` is a terminal.

    What the encoding lacks becomes an escape of Python.
    """
    shown = visible(line) if stream.isatty() else line
    encoding = stream.encoding or "utf-8"
    printable = shown.encode(encoding, "backslashreplace").decode(encoding)
    print(printable, file=stream, flush=True)
