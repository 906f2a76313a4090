"""The base of all errors that clients see; `chatsvc.problems` has the errors themselves."""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):
    """The base of all errors that clients see: one row of the table in PROTOCOL.md section 6.

    `code` is the last part of the problem's type URI, `title` its short text in English, `status`
    the HTTP status, `close_code` the code that a WebSocket is closed with. `retryable` is whether
    the same request may succeed later: true for the 429 and the 503s of the table, and clients give
    up on all others.

    `detail` is a sentence for the developer who has to mend the request, by default the title; it
    never holds a traceback, a path or the text of a message. `retry_after` is the value of the
    `Retry-After` header (RFC 9110 section 10.2.3) in seconds, or None to send none.
    """

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong on the server"
    status: int = 500
    close_code: ClassVar[int] = 1011
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or f"{self.title}."
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        """Return the problem details object (RFC 9457 section 3.1)."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
