"""The answers to heads that are not whole: they are made here, for there is no request yet."""

from __future__ import annotations


def _plain(status: str, text: str) -> bytes:
    """Return a whole answer in plain text, after which the connection closes."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
    ).encode()


SLOW_HEAD = _plain("408 Request Timeout", "The head took too long.\n")
"""The answer to a head that does not arrive in time."""

LARGE_HEAD = _plain(
    "431 Request Header Fields Too Large", "The head has too many bytes.\n"
)
"""The answer to a head of more than `connections.HEAD_BYTES`."""
