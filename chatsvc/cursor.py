"""Reply ids and cursors: the names of a reply and of a place in it (PROTOCOL.md section 1)."""

from __future__ import annotations

import re
import secrets

from chatsvc.problems import BadCursor

END = "end"
"""Stands in a cursor for the position behind a reply's end."""

_reply_id = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
_cursor = re.compile(r"([A-Za-z0-9_-]{22}):(end|0|[1-9][0-9]{0,8})", re.ASCII)


def new_reply_id() -> str:
    """22 URL-safe characters holding 128 random bits: knowing one is the right to read the reply."""
    return secrets.token_urlsafe(16)


def is_reply_id(text: str) -> bool:
    """Whether `text` has the form of a reply id."""
    return _reply_id.fullmatch(text) is not None


def parse_cursor(text: str) -> tuple[str, int | None]:
    """The reply id and the position (in code points; None for the end) that a cursor names.

    Raises `BadCursor` for anything that is not `<reply>:<n>` or `<reply>:end`.
    """
    match = _cursor.fullmatch(text)
    if match is None:
        raise BadCursor(
            "A cursor is <reply>:<n> or <reply>:end, with the reply's 22 characters and a "
            "position in code points, exactly as it came in an event's id."
        )
    reply_id, place = match.groups()
    return reply_id, None if place == END else int(place)
