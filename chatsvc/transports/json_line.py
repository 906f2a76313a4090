"""JSON that is one line to every reader."""

from __future__ import annotations

import msgspec

_LINE_ENDS = [(c.encode(), b"\\u%04x" % ord(c)) for c in "\x85\u2028\u2029"]


def json_line(value: object) -> bytes:
    """Return `value` as JSON in UTF-8, with U+0085, U+2028 and U+2029 escaped.

    Neither event streams nor NDJSON end a line at these, but clients do that cut wherever Unicode
    ends a line, as Python's `str.splitlines` does. JSON itself escapes all other line ends.
    """
    line = msgspec.json.encode(value)
    if not line.isascii():
        for character, escaped in _LINE_ENDS:
            line = line.replace(character, escaped)
    return line
