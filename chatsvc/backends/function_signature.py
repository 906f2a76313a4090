"""What can be seen of an operator's function before it is called: how it takes the context, its faults.

A function that is a backend takes the conversation, and perhaps the request's context, and gives an
async iterator of pieces. `fault_of` finds what certainly does not; what only shows when the function
is called, `chatsvc.backends.function` finds then.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

from chatsvc.model import Finish, SidePiece, Usage
from chatsvc.named_functions import called_function, takes

PIECES: tuple[type, ...] = (str, *typing.get_args(SidePiece), Usage, Finish)
"""The types of what a function may yield."""

RIGHT = "write `async def answer(messages)`, or `(messages, context)`, with `yield`"
"""The words that say what a function should be."""

RIGHT_PIECES = f"yield {', '.join(kind.__name__ for kind in PIECES[:-1])} or Finish"
"""The words that say what a function should yield."""


def context_by(function: Callable[..., Any]) -> str:
    """Return how a function takes the context: by its "place", by "name", or "" if it doesn't.

    It does if it has a parameter `context`, or a second one that must be given.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # one of C may have none
        return ""
    places = [
        each
        for each in parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    second = places[1] if len(places) > 1 else None
    if second is not None and (
        second.default is second.empty or second.name == "context"
    ):
        return "place"
    named = parameters.get("context")
    if named is None or named.kind in (named.VAR_POSITIONAL, named.VAR_KEYWORD):
        return ""
    return "name" if named not in places[:1] else ""


def fault_of(function: Callable[..., Any]) -> str:
    """Return what is certainly wrong with a function, and what would be right; "" if nothing is.

    The words stand behind the function's name.
    """
    if inspect.isgeneratorfunction(called_function(function)):
        return f"is a generator function that is not asynchronous: {RIGHT}"
    if not _takes_messages(function):
        return f"takes {inspect.signature(function)}: {RIGHT}"
    return _fault_of_result(function)


def is_doubtful(function: Callable[..., Any]) -> bool:
    """Return whether a function seems to lack a `yield`: it is a coroutine function of no known result.

    It may return an async iterator, so that is no fault.
    """
    called = called_function(function)
    return inspect.iscoroutinefunction(called) and _result_hint(called) is None


def _takes_messages(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called as a backend's is; also if that can't be found out."""
    by = context_by(function)
    given = (None, None) if by == "place" else (None,)
    named = {"context": None} if by == "name" else {}
    return takes(function, *given, **named)


def _fault_of_result(function: Callable[..., Any]) -> str:
    """Return what is certainly wrong with a function's annotated result, as `fault_of`."""
    called = called_function(function)
    hint = called if isinstance(called, type) else _result_hint(called)
    if hint is None:
        return ""
    hint = _awaited(hint)
    if not _may_be(hint, AsyncIterable, AsyncGenerator):
        if inspect.isasyncgenfunction(called):
            return ""  # only its annotation is wrong
        return f"gives {_name(hint)}, and must give an async iterator: {RIGHT}"
    arguments = typing.get_args(hint)
    if not arguments or _is_union(hint):
        return ""
    item = arguments[0]
    if any(_may_be(item, piece, piece) for piece in PIECES):
        return ""
    return f"yields {_name(item)}: {RIGHT_PIECES}"


def _result_hint(function: Callable[..., Any]) -> Any:
    """Return the annotation of a function's result, or None if there is none, or none to trust."""
    if hasattr(function, "__wrapped__"):
        return None  # it may be that of another function, which a decorator has copied
    try:
        return typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001  (it evaluates text, which may raise anything)
        return None


def _awaited(hint: Any) -> Any:
    """Return what an annotated result is once it has been awaited, if it is awaitable."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(origin, type) and issubclass(origin, Awaitable) and arguments:
        return arguments[-1]
    return hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _may_be(hint: Any, wanted: type, example: type) -> bool:
    """Return whether what is annotated with `hint` may be a `wanted`, as `example` is one.

    True where that can't be found out.
    """
    if _is_union(hint):
        return any(_may_be(each, wanted, example) for each in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if kind is Any or not isinstance(kind, type):
        return True
    try:
        return issubclass(kind, wanted) or issubclass(example, kind)
    except TypeError:  # some protocols can't be asked
        return True


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
