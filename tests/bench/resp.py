"""The protocol of Redis, RESP2: a parser that takes the bytes as they come.

Commands are arrays of byte strings; answers are any `Value`.
"""

from __future__ import annotations


class Refusal(bytes):
    """An error that Redis answers, as `NOSCRIPT No matching script`."""


Value = bytes | int | None | list["Value"]
"""A string or an error (`Refusal`), a number, nothing, or an array of these."""


class Incomplete(Exception):
    """The error for a value that goes on in bytes that have not come yet."""


class Parser:
    """The values in a stream of bytes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Value]:
        """Return the values that are whole with these further bytes.

        Raises `ValueError` for what is no RESP2.
        """
        self._data += data
        values: list[Value] = []
        at = 0
        try:
            while at < len(self._data):
                value, at = parse(self._data, at)
                values.append(value)
        except Incomplete:
            pass
        self._data = self._data[at:]
        return values


def parse(data: bytes, at: int) -> tuple[Value, int]:
    """Return the value that begins at an offset, and the offset behind it.

    Raises `Incomplete`, and `ValueError` for what is no RESP2.
    """
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line, behind = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"$":
        length = int(line)
        if length < 0:
            return None, behind
        if len(data) < behind + length + 2:
            raise Incomplete
        return data[behind : behind + length], behind + length + 2
    if kind == b"*":
        count = int(line)
        if count < 0:
            return None, behind
        values: list[Value] = []
        for _ in range(count):
            value, behind = parse(data, behind)
            values.append(value)
        return values, behind
    if kind == b":":
        return int(line), behind
    if kind == b"+":
        return line, behind
    if kind == b"-":
        return Refusal(line), behind
    raise ValueError(f"no RESP2: {data[at : at + 20]!r}")


def command(*words: bytes) -> bytes:
    """Return a command as it is sent."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)
