"""Everything that can go wrong between a client and a reply, in one table (PROTOCOL.md section 6).

    Problem
    ├── BadRequest: BadJson, BadCursor, BadText
    ├── Unauthorized, ForbiddenOrigin
    ├── NotFound, MethodNotAllowed, NotAcceptable
    ├── ReplyNotFound, CursorPastEnd, ReplyExpired
    ├── TooLarge, UnsupportedMediaType, InvalidRequest
    ├── TooManyRequests
    ├── Unavailable: Overloaded, Draining, StoreUnavailable
    └── BackendFailed, InternalError

A problem knows its code, its HTTP status (RFC 9110), its WebSocket close code (RFC 6455) and, where
it makes sense to come back, after how many seconds. Transports only choose the clothes.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):
    """A failure with a place in the table.

    `detail` is a sentence for whoever has to mend it; it never holds a traceback, a path or a
    message's text. `retry_after` is in seconds, or None when coming back is no use.
    """

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong on the server"
    status: int = 500
    close_code: ClassVar[int] = 1011

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or f"{self.title}."
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        """The members of a problem details object (RFC 9457 section 3.1)."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class InternalError(Problem):
    """A mistake of ours: logged with its traceback, told without it."""


class BadRequest(Problem):
    """What came can't be read. `status` is another one that somebody else has refused it with."""

    code = "bad-request"
    title = "The request is malformed"
    status = 400
    close_code = 1007

    def __init__(self, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(detail)
        if status is not None:
            self.status = status


class BadJson(BadRequest):
    code = "bad-json"
    title = "The body is not JSON"


class BadCursor(BadRequest):
    code = "bad-cursor"
    title = "The cursor is malformed"


class BadText(BadRequest):
    code = "bad-text"
    title = "The text is not valid Unicode"


class Unauthorized(Problem):
    code = "unauthorized"
    title = "Who are you?"
    status = 401
    close_code = 4401


class ForbiddenOrigin(Problem):
    code = "forbidden-origin"
    title = "This origin may not use the service"
    status = 403
    close_code = 4403


class NotFound(Problem):
    code = "not-found"
    title = "There is nothing at this address"
    status = 404
    close_code = 4404


class MethodNotAllowed(Problem):
    code = "method-not-allowed"
    title = "This address does not take this method"
    status = 405
    close_code = 4405

    def __init__(self, detail: str = "", *, allowed: str = "") -> None:
        super().__init__(detail)
        self.allowed = allowed


class NotAcceptable(Problem):
    code = "not-acceptable"
    title = "None of the representations asked for exists"
    status = 406
    close_code = 4406


class ReplyNotFound(Problem):
    code = "reply-not-found"
    title = "There is no such reply"
    status = 404
    close_code = 4404


class CursorPastEnd(Problem):
    code = "cursor-past-end"
    title = "The reply has not reached this position"
    status = 409
    close_code = 4409


class ReplyExpired(Problem):
    code = "reply-expired"
    title = "The reply is no longer kept"
    status = 410
    close_code = 4410


class TooLarge(Problem):
    code = "too-large"
    title = "The request is too large"
    status = 413
    close_code = 1009


class UnsupportedMediaType(Problem):
    code = "unsupported-media-type"
    title = "The body must be JSON"
    status = 415
    close_code = 1003


class InvalidRequest(Problem):
    code = "invalid-request"
    title = "The request has the wrong shape"
    status = 422
    close_code = 4422


class TooManyRequests(Problem):
    code = "too-many-requests"
    title = "Too many replies at once"
    status = 429
    close_code = 4429


class Unavailable(Problem):
    """Not now; another moment or another node will do."""

    status = 503
    close_code = 1013


class Overloaded(Unavailable):
    code = "overloaded"
    title = "The service is full"


class Draining(Unavailable):
    code = "draining"
    title = "The service is going down"
    close_code = 1012


class StoreUnavailable(Unavailable):
    code = "store-unavailable"
    title = "The store of replies can't be reached"


class BackendFailed(Problem):
    """What answers went wrong: it refused, broke off, fell silent or sent what can't be read."""

    code = "backend-failed"
    title = "The backend failed"
    status = 502
    close_code = 4502


def every_problem() -> list[type[Problem]]:
    """All problems that have a code of their own, in the order of the table."""
    found: list[type[Problem]] = []
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        kind = waiting.pop(0)
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind) and kind is not Problem:
            found.append(kind)
    return found
