"""Reply ids and cursors: the names of a reply and of a place in it (PROTOCOL.md section 1).

A reply id is 22 URL-safe characters. A cursor is `<reply>:<n>` for a position (code points of the
answer's text), `<reply>:@<m>` for an offset (units of all parts), or `<reply>:end` for the end of
the reply, as it stands in the `id` of an event.
"""

from __future__ import annotations

import re
import secrets

import msgspec

from chatsvc.problems import BadCursor

END = "end"
"""The position part of a cursor that names the end of a reply."""

_reply_id = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
_cursor = re.compile(r"([A-Za-z0-9_-]{22}):(end|@?(?:0|[1-9][0-9]{0,8}))", re.ASCII)
_place = re.compile(r"@?[0-9]{1,9}", re.ASCII)


class Offset(msgspec.Struct, frozen=True):
    """An offset in a reply: the number of `units` of all its parts before a place.

    As text it is `@<units>`. Where a plain `int` may stand too, that is a position: the code points
    of the answer's text alone.
    """

    units: int


Place = int | Offset
"""A place in a reply, which a reading begins behind: a position, or an offset."""


def new_reply_id() -> str:
    """Return a new reply id: 22 URL-safe characters that encode 128 random bits.

    The id is a capability: knowing it is the right to read the reply and to stop it.
    """
    return secrets.token_urlsafe(16)


def is_reply_id(text: str) -> bool:
    """Return whether `text` has the form of a reply id: 22 letters, digits, `-` or `_`."""
    return _reply_id.fullmatch(text) is not None


def parse_cursor(text: str) -> tuple[str, Place | None]:
    """Return the reply id and the place that a cursor names.

    A position or an offset is at most 999,999,999; the place is None for the end of the reply.
    Raises `BadCursor` when `text` is neither `<reply>:<n>`, `<reply>:@<m>`, the number in decimal
    without leading zeros, nor `<reply>:end`.
    """
    match = _cursor.fullmatch(text)
    if match is None:
        raise BadCursor(
            "A cursor is <reply>:<n>, <reply>:@<m> or <reply>:end, with the reply's 22 characters "
            "and a position in code points or an offset in units, exactly as it came in an "
            "event's id."
        )
    reply_id, place = match.groups()
    return reply_id, None if place == END else parse_place(place)


def parse_place(text: str) -> Place:
    """Return the place that `<n>` or `@<m>` names, each of at most nine digits.

    Raises `BadCursor` for any other text.
    """
    if _place.fullmatch(text) is None:
        raise BadCursor(
            "after must be a position, a number of code points, or an offset, @ and a number of "
            "units."
        )
    return Offset(int(text[1:])) if text[0] == "@" else int(text)
