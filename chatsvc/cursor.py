"""Reply ids and cursors: the names of a reply and of a position in it (PROTOCOL.md section 1).

A reply id is 22 URL-safe characters. A cursor is `<reply>:<n>` for a position in code points, or
`<reply>:end` for the end of the reply, as it stands in the `id` of an event.
"""

from __future__ import annotations

import re
import secrets

from chatsvc.problems import BadCursor

END = "end"
"""The position part of a cursor that names the end of a reply."""

_reply_id = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
_cursor = re.compile(r"([A-Za-z0-9_-]{22}):(end|0|[1-9][0-9]{0,8})", re.ASCII)


def new_reply_id() -> str:
    """Return a new reply id: 22 URL-safe characters that encode 128 random bits.

    The id is a capability: knowing it is the right to read the reply and to stop it.
    """
    return secrets.token_urlsafe(16)


def is_reply_id(text: str) -> bool:
    """Return whether `text` has the form of a reply id: 22 letters, digits, `-` or `_`."""
    return _reply_id.fullmatch(text) is not None


def parse_cursor(text: str) -> tuple[str, int | None]:
    """Return the reply id and the position that a cursor names.

    The position is in code points, at most 999,999,999; it is None for the end of the reply. Raises
    `BadCursor` when `text` is neither `<reply>:<n>`, `n` in decimal without leading zeros, nor
    `<reply>:end`.
    """
    match = _cursor.fullmatch(text)
    if match is None:
        raise BadCursor(
            "A cursor is <reply>:<n> or <reply>:end, with the reply's 22 characters and a "
            "position in code points, exactly as it came in an event's id."
        )
    reply_id, position = match.groups()
    return reply_id, None if position == END else int(position)
