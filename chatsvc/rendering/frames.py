"""The messages between a renderer's child process and its parent, on the pipes of stdin and stdout.

A message is the length of its text in bytes (four, most significant first), a byte that says its
kind, and the text in UTF-8. A child sends `READY` when it can take a text. Its parent sends
`COLOURED` or `UNCOLOURED` with a text, or `BLOCKS` or `UNCOLOURED_BLOCKS` with what
`chatsvc.rendering.block_messages.Asked` is as JSON. The child answers the first two with `HTML`, the
others with `ANSWERED`, or any with `FAILED`.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEAD = struct.Struct("!IB")
"""The form of a message's first bytes: the length and the kind."""


class Kind(IntEnum):
    """The kinds of messages."""

    READY = 0
    COLOURED = 1
    """A text to render, its code in colours."""
    UNCOLOURED = 2
    """A text to render, its code as plain text."""
    HTML = 3
    FAILED = 4
    """The name of the exception that ended the rendering."""
    BLOCKS = 5
    """A piece of a text whose blocks are to be rendered, code in colours."""
    UNCOLOURED_BLOCKS = 6
    """The same, code as plain text."""
    ANSWERED = 7
    """The blocks: `chatsvc.rendering.block_messages.Answered` as JSON."""


def frame(kind: Kind, text: str) -> bytes:
    """Return a message. A lone surrogate, which UTF-8 can't hold, becomes a question mark."""
    body = text.encode(errors="replace")
    return HEAD.pack(len(body), kind) + body
