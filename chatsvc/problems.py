"""The errors that clients see, in one table (PROTOCOL.md section 6).

    Problem
    ├── BadRequest: BadJson, BadCursor, BadText
    ├── Unauthorized, Forbidden, ForbiddenOrigin, MisdirectedRequest
    ├── NotFound, MethodNotAllowed, NotAcceptable
    ├── ReplyNotFound, CursorPastEnd, ReplyExpired
    ├── TooLarge, UnsupportedMediaType, InvalidRequest
    ├── TooManyRequests
    ├── Unavailable: Overloaded, Draining, StoreUnavailable
    └── BackendFailed, InternalError

A problem knows its code, its title, its HTTP status (RFC 9110), its WebSocket close code (RFC 6455)
and whether the same request may succeed later. Transports only choose how to encode it: as
`application/problem+json`, as an event of a stream, as a close frame or as OpenAI's error object.
"""

from __future__ import annotations

from typing import Any

from chatsvc.problem import Problem


class InternalError(Problem):
    """Raised in place of an exception that nothing handles: its text is logged, and not sent."""


class BadRequest(Problem):
    """Raised when a request can't be parsed, or the application around the service refuses it.

    `status` replaces the 400, for example with 408 when a body has not arrived in time.
    """

    code = "bad-request"
    title = "The request is malformed"
    status = 400
    close_code = 1007

    def __init__(self, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(detail)
        if status is not None:
            self.status = status


class BadJson(BadRequest):
    """Raised when a body or a frame is not JSON."""

    code = "bad-json"
    title = "The body is not JSON"


class BadCursor(BadRequest):
    """Raised when a cursor is malformed, or names another reply than the URL."""

    code = "bad-cursor"
    title = "The cursor is malformed"


class BadText(BadRequest):
    """Raised when a text is not UTF-8 or has a lone surrogate."""

    code = "bad-text"
    title = "The text is not valid Unicode"


class Unauthorized(Problem):
    """Raised when a request names no user, or its identity has ended.

    `refused` is whether it has named one, by a key or a ticket that is not accepted.
    """

    code = "unauthorized"
    title = "Who are you?"
    status = 401
    close_code = 4401

    def __init__(self, detail: str = "", *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class Forbidden(Problem):
    """Raised when the API key of a request lacks the `scope` for what it asks for."""

    code = "forbidden"
    title = "You may not do this"
    status = 403
    close_code = 4403

    def __init__(self, detail: str = "", *, scope: str = "chat") -> None:
        super().__init__(detail)
        self.scope = scope


class ForbiddenOrigin(Problem):
    """Raised when a browser sends the request from a page of another origin that isn't allowed."""

    code = "forbidden-origin"
    title = "This origin may not use the service"
    status = 403
    close_code = 4403


class MisdirectedRequest(Problem):
    """Raised when the request names a host that the service does not answer.

    The status is that of RFC 9110 section 15.5.20.
    """

    code = "misdirected-request"
    title = "The service does not answer to this host"
    status = 421
    close_code = 4421


class NotFound(Problem):
    """Raised when no route has the request's path."""

    code = "not-found"
    title = "There is nothing at this address"
    status = 404
    close_code = 4404


class MethodNotAllowed(Problem):
    """Raised when the request's path has no route for its method.

    `allowed` are the methods that it has, separated by commas: the value of the `Allow` header (RFC
    9110 section 10.2.1).
    """

    code = "method-not-allowed"
    title = "This address does not take this method"
    status = 405
    close_code = 4405

    def __init__(self, detail: str = "", *, allowed: str = "") -> None:
        super().__init__(detail)
        self.allowed = allowed


class NotAcceptable(Problem):
    """Raised when the request's `Accept` takes none of the representations that there are."""

    code = "not-acceptable"
    title = "None of the representations asked for exists"
    status = 406
    close_code = 4406


class ReplyNotFound(Problem):
    """Raised when no reply has the id, or another user owns it."""

    code = "reply-not-found"
    title = "There is no such reply"
    status = 404
    close_code = 4404


class CursorPastEnd(Problem):
    """Raised when a cursor names a position that the reply has not reached."""

    code = "cursor-past-end"
    title = "The reply has not reached this position"
    status = 409
    close_code = 4409


class ReplyExpired(Problem):
    """Raised when the reply had the id, but its text is no longer kept."""

    code = "reply-expired"
    title = "The reply is no longer kept"
    status = 410
    close_code = 4410


class TooLarge(Problem):
    """Raised when a message, a body or a frame is over its limit."""

    code = "too-large"
    title = "The request is too large"
    status = 413
    close_code = 1009


class UnsupportedMediaType(Problem):
    """Raised when a body is not declared as JSON, and for a binary frame."""

    code = "unsupported-media-type"
    title = "The body must be JSON"
    status = 415
    close_code = 1003


class InvalidRequest(Problem):
    """Raised when JSON has the wrong shape, a parameter is out of range, or a key is reused."""

    code = "invalid-request"
    title = "The request has the wrong shape"
    status = 422
    close_code = 4422


class TooManyRequests(Problem):
    """Raised when a client has reached one of its limits (PROTOCOL.md section 7).

    `limit` is the name of a field of `ClientLimits`, and `most` what it allows: within `window_s`
    seconds, or at once if that is None.
    """

    code = "too-many-requests"
    title = "You have reached a limit of the service"
    status = 429
    close_code = 4429
    retryable = True

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = None,
        limit: str = "running",
        most: int = 0,
        window_s: int | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.limit, self.most, self.window_s = limit, most, window_s

    def as_dict(self) -> dict[str, Any]:
        """Return the problem details object, which has `limit` and `retry_after` besides."""
        more = {"limit": self.limit, "retry_after": self.retry_after}
        return super().as_dict() | more


class Unavailable(Problem):
    """The base of the problems with status 503: another moment or another node mends them."""

    status = 503
    close_code = 1013
    retryable = True


class Overloaded(Unavailable):
    """Raised when the node or the connection has as many replies, or as much memory, as it may."""

    code = "overloaded"
    title = "The service is full"


class Draining(Unavailable):
    """Raised when the node is about to go down and takes no new replies or readers."""

    code = "draining"
    title = "The service is going down"
    close_code = 1012


class StoreUnavailable(Unavailable):
    """Raised when the store of replies doesn't respond or refuses to write."""

    code = "store-unavailable"
    title = "The store of replies can't be reached"


FAILURE_REASONS = ("busy", "refused", "misconfigured", "broken")
"""The values of `BackendFailed.reason`, in the order of PROTOCOL.md section 6."""


class BackendFailed(Problem):
    """Raised when the backend fails.

    It refuses the request, breaks off, falls silent, sends what can't be parsed, or ends without
    saying so.

    `detail` is shown to the user. `reason` says who can do something about it, by one of
    `FAILURE_REASONS`: with `busy` the user who waits, with `refused` the user who asks otherwise,
    with `misconfigured` whoever runs the service, with `broken` perhaps another attempt.

    What only the log may have stands in further attributes: `words` are those of a model's server,
    or what a function should have given, in one line of at most 500 characters, or ""; `answer_status` is the HTTP status of its answer
    and `host` its host and port, or None where there is none; `attempts` is how often it was asked.
    """

    code = "backend-failed"
    title = "The backend failed"
    status = 502
    close_code = 4502

    def __init__(
        self,
        detail: str = "",
        *,
        reason: str = "broken",
        words: str = "",
        answer_status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.words = words
        self.answer_status = answer_status
        self.host: str | None = None
        self.attempts = 1

    def as_dict(self) -> dict[str, Any]:
        """Return the problem details object, which has `reason` besides."""
        return {**super().as_dict(), "reason": self.reason}


def every_problem() -> list[type[Problem]]:
    """Return the classes that set a `code`, one for each in the table; parents before children."""
    found: list[type[Problem]] = []
    waiting: list[type[Problem]] = [Problem]
    while waiting:
        kind = waiting.pop(0)
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind) and kind is not Problem:
            found.append(kind)
    return found
