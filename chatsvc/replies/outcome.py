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
from chatsvc.problems import BackendFailed, Problem, without_tracebacks

logger = logging.getLogger("chatsvc.backend")

FINISH_REASONS = ("stop", "length", "content_filter")
"""The reasons of a text that is complete (PROTOCOL.md section 1); any other becomes `stop`."""

LONGEST_DETAIL = 2000
"""The code points of a problem's detail that are passed on."""

MOST_USAGE = 16 * 1024
"""The values and code points that a usage object may have; those behind them are left out."""

DEEPEST_USAGE = 8
"""How deep a usage object may be nested; what is deeper is left out."""

_OMITTED = object()


def end_of_finish(finish: Finish) -> End:
    """Return the end of a reply whose backend has given all its text and said `finish` last."""
    # The reason of the table, not the one that is equal to it: that may be of any class.
    reason = next((r for r in FINISH_REASONS if r == finish.reason), "stop")
    usage = None
    if isinstance(finish.usage, dict):
        usage = _Encodable().value(finish.usage, DEEPEST_USAGE)
    return End("done", reason, usage=usage)


def end_of_failure(error: BaseException, backend: Backend) -> End:
    """Return the end of a reply whose backend has raised `error`.

    A `Problem` is passed on. Any other exception may hold secrets of the backend: it is logged, and
    readers learn only which backend failed.
    """
    if isinstance(error, Problem):
        problem = error
    else:
        logger.error("the backend %s failed", backend.name, exc_info=error)
        problem = BackendFailed(f"The backend {backend.name} failed.")
    without_tracebacks(error)
    return failed(problem)


def failed(problem: Problem) -> End:
    """Return the end of a reply that fails with a problem.

    It has the four members of PROTOCOL.md section 6. Those that an application's own class of
    problems has of another type, or a status that is no error's, become `backend-failed`'s.
    """
    given, details = problem.as_dict(), BackendFailed().as_dict()
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
