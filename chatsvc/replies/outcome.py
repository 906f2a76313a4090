"""The end that a backend's outcome makes: of what it says last, or of what it raises.

Whatever a backend says of its end goes to every reader, and through a shared store to other nodes.
An end that can't be encoded would leave the reply without one there, so each is made here, once.

Invariants:

- An end that is made here can be encoded as JSON, and is small: its texts are valid Unicode (a lone
  surrogate becomes U+FFFD), and what JSON can't hold, or is too deep or too much, is left out.
- An exception lives no longer than the call: only its public words are in the end. Its traceback
  holds the frames of the reply's producer, and with them the reply and its log.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from chatsvc.backends.base import Backend
from chatsvc.graphemes import join_surrogates
from chatsvc.model import End, Finish
from chatsvc.problem import Problem
from chatsvc.problems import FAILURE_REASONS, BackendFailed
from chatsvc.tracebacks import without_tracebacks

logger = logging.getLogger("chatsvc.backend")

FINISH_REASONS = ("stop", "length", "content_filter")
"""The reasons of a text that is complete (PROTOCOL.md section 1) which the service knows."""

TOOL_CALLS = "tool_calls"
"""The reason of a reply that calls tools, and waits for their results."""

READ_AS_STOP = frozenset(
    {"", TOOL_CALLS, "stopped", "abandoned", "error", "interrupted"}
)
"""What a backend may not end a text with: a reply without calls can't say that it has some, and the
others are the service's own words for replies that are not done. They become `stop`."""

LONGEST_REASON = 100
"""The code points of a reason that the service doesn't know; a longer one becomes `stop`."""

LONGEST_DETAIL = 2000
"""The code points of a problem's detail that are passed on."""

LONGEST_LOGGED = 500
"""The code points of a problem's detail that are logged."""

MOST_USAGE = 16 * 1024
"""The values and code points that a usage object may have; those behind them are left out."""

DEEPEST_USAGE = 8
"""How deep a usage object may be nested; what is deeper is left out."""

_OMITTED = object()


def end_of_finish(finish: Finish, *, has_calls: bool = False) -> End:
    """Return the end of a reply whose backend has given all its text and said `finish` last.

    `has_calls` is whether there are calls of tools in the reply; else its reason is never
    `tool_calls`.
    A reason that is not in `FINISH_REASONS` is passed on as it is, and logged; but one that is no
    text, not printable, too long or in `READ_AS_STOP` becomes `stop`.
    """
    reason = "stop"
    if isinstance(finish.reason, str):
        reason = str.__str__(finish.reason)  # it may be of any class
    if reason not in FINISH_REASONS and not (has_calls and reason == TOOL_CALLS):
        printable = reason.isprintable() and len(reason) <= LONGEST_REASON
        if reason in READ_AS_STOP or not printable:
            reason = "stop"
        else:
            logger.warning("a backend finished with the unknown reason %r", reason)
    return End("done", reason, usage=usage_of(finish.usage))


def usage_of(usage: object) -> dict[str, Any] | None:
    """Return a backend's usage object as an end can have it, or None if it is none."""
    if not isinstance(usage, dict):
        return None
    kept: dict[str, Any] = _Encodable().value(usage, DEEPEST_USAGE)
    return kept


def end_of_failure(
    error: BaseException, backend: Backend, reply_id: str = "", seconds: float = 0.0
) -> End:
    """Return the end of a reply whose backend has raised `error`, and log it as one warning.

    A `Problem` is passed on. Any other exception may hold secrets of the backend: it is logged with
    its traceback, and readers learn only which backend failed. `reply_id` and `seconds`, the time
    since the reply was started here, are for the log.
    """
    if isinstance(error, Problem):
        _log_failure(error, backend, reply_id, seconds)
        end = failed(error)
    else:
        problem = BackendFailed(f"The backend {backend.name} failed.")
        _log_failure(problem, backend, reply_id, seconds, error)
        end = failed(problem)
    without_tracebacks(error)
    return end


def end_of_overrun(
    max_seconds: float, backend: Backend, reply_id: str = "", seconds: float = 0.0
) -> End:
    """Return the end of a reply whose backend has not come to its end in `max_seconds`, and log it.

    The other parameters are those of `end_of_failure`.
    """
    name = backend.name
    detail = f"The backend {name} did not come to its end in {max_seconds:g} s."
    problem = BackendFailed(detail)
    _log_failure(problem, backend, reply_id, seconds)
    return failed(problem)


def _log_failure(
    problem: Problem,
    backend: Backend,
    reply_id: str,
    seconds: float,
    error: BaseException | None = None,
) -> None:
    """Log a failed reply: who failed and why, what it said and after how long."""
    data: dict[str, object] = {
        "reply": reply_id[:6],  # ids are capabilities
        "backend": backend.name,
        "seconds": round(seconds, 3),
    }
    words = ""
    if isinstance(problem, BackendFailed):
        words = problem.words
        data["reason"] = problem.reason
        data["host"] = problem.host
        data["status"] = problem.answer_status
        data["attempts"] = problem.attempts
    # What the service itself says comes first: a server's words may say anything.
    detail = " ".join(_valid(str(problem.detail)).split())
    data["detail"] = detail[:LONGEST_LOGGED]
    data["words"] = words
    shown = {name: value for name, value in data.items() if value not in (None, "")}
    logger.warning("a reply failed", extra={"data": shown}, exc_info=error)


def failed(problem: Problem) -> End:
    """Return the end of a reply that fails with a problem.

    It has the members of PROTOCOL.md section 6; `reason` only if it is a `BackendFailed`. Those
    that an application's own class of problems has of another type, or a status that is no error's,
    become `backend-failed`'s.
    """
    given, details = problem.as_dict(), BackendFailed().as_dict()
    details.pop("reason")
    if isinstance(problem, BackendFailed):
        reason = given.get("reason")
        known = (each for each in FAILURE_REASONS if each == reason)
        details["reason"] = next(known, "broken")
    for name in ("type", "title", "detail"):
        if isinstance(text := given.get(name), str):
            details[name] = _valid(text[:LONGEST_DETAIL])
    status = given.get("status")
    if isinstance(status, int) and 400 <= status < 600:
        details["status"] = int(status)
    return End("failed", "error", details)


def _valid(text: str) -> str:
    """Return a text as valid Unicode, as a plain `str` whatever class it had."""
    return join_surrogates(str.__str__(text))


class _Encodable:
    """A copy of one usage object that JSON can hold, within `MOST_USAGE`."""

    def __init__(self) -> None:
        self._left = MOST_USAGE

    def value(self, value: object, depth: int) -> Any:
        """Return what JSON can hold of a value with `depth` levels, or `_OMITTED`."""
        self._left -= 1 + (len(value) if isinstance(value, str) else 0)
        if self._left < 0:
            return _OMITTED
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _valid(value)
        if isinstance(value, int):  # 64 bits are what every store and client takes
            return int(value) if -(2**63) <= value < 2**64 else _OMITTED
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else _OMITTED
        if not depth:
            return _OMITTED
        if isinstance(value, (list, tuple)):
            items = (self.value(item, depth - 1) for item in self._affordable(value))
            return [item for item in items if item is not _OMITTED]
        if isinstance(value, dict):
            members = {}
            for name in self._affordable(value):
                key = self.value(name, 0) if isinstance(name, str) else _OMITTED
                member = self.value(value[name], depth - 1)
                if key is not _OMITTED and member is not _OMITTED:
                    members[key] = member
            return members
        return _OMITTED

    def _affordable(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield values for as long as there is something left to spend on them."""
        return takewhile(lambda _: self._left > 0, values)
