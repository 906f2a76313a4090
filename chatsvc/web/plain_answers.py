"""The answers that a connection gives by itself, in plain text: to what is not yet a request."""

from __future__ import annotations

from collections.abc import Mapping

from chatsvc.problems import TooManyRequests
from chatsvc.web.use import rate_limit_headers


def plain_answer(
    status: str, text: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a whole answer in plain text, after which the connection closes."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n{more}Connection: close\r\n\r\n{text}"
    ).encode()


def with_request_id(answer: bytes, request_id: str) -> bytes:
    """Return a whole answer with the id of its request, which is none that the client has sent."""
    head, end, rest = answer.partition(b"\r\n")
    return b"%b%bX-Request-Id: %b%b%b" % (head, end, request_id.encode(), end, rest)


def beyond_answer(problem: TooManyRequests) -> bytes:
    """Return the answer to a connection beyond a limit that has sent no request."""
    headers = {"Retry-After": str(problem.retry_after), **rate_limit_headers(problem)}
    return plain_answer("429 Too Many Requests", f"{problem.detail}\n", headers)


SLOW_HEAD = plain_answer("408 Request Timeout", "The head took too long.\n")
"""The answer to a head that does not arrive in time."""

LARGE_HEAD = plain_answer(
    "431 Request Header Fields Too Large", "The head has too many bytes.\n"
)
"""The answer to a head of more than the bytes that one may have."""
