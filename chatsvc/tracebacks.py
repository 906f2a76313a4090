"""The tracebacks of exceptions, which hold the frames of everything that was under way."""

from __future__ import annotations

from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def without_tracebacks(error: Error) -> Error:
    """Return `error` after dropping its traceback, and those of all exceptions that led to it.

    A traceback holds the frames that it went through, with all their locals. Where one of these is
    the exception itself, or holds it, as connections and readers of aiohttp do, the cycle keeps
    everything that the frames know until the garbage collector runs. Call it once the exception is
    logged.
    """
    waiting: list[BaseException] = [error]
    seen = set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = None
        waiting += filter(None, (link.__cause__, link.__context__))
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions
    return error
