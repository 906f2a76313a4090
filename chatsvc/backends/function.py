"""The backend `package.module:function`: the operator's own `async def function(messages)`.

It may take the `Context` of the request as well, and yield all pieces of `chatsvc.model`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

from chatsvc.model import (
    ABILITIES,
    Context,
    Finish,
    Message,
    Piece,
    Prompt,
    PromptInContext,
    Reasoning,
    SidePiece,
    ToolCall,
    Usage,
)
from chatsvc.problems import BackendFailed

Function = (
    Callable[[list[dict[str, Any]]], AsyncIterator[Piece]]
    | Callable[[list[dict[str, Any]], Context], AsyncIterator[Piece]]
)
"""The type of an operator's function: it takes the conversation, a list of messages in OpenAI's form
with the oldest first, and perhaps the request's `Context`. A message's `content` is a string, but a
list of parts where it holds more than text. The function returns an async iterator of the
reply's pieces: text of any size, or what stands beside it. Most are async generators; a coroutine
function that returns an async iterator will do."""


class FunctionBackend:
    """The backend that calls `function` once for each reply.

    `name` is the backend's name, by default that of the function. A function gets the `Context` if it
    has a parameter `context`, or a second one that must be given. What the function returns is
    closed with the reply if it has an `aclose`, and so is the iterator that it gives.
    """

    pace = 0.0
    lag = 0.5
    resumes = False
    takes = ABILITIES
    models = ("*",)

    def __init__(self, function: Callable[..., Any], name: str = "") -> None:
        self.name = name or getattr(function, "__name__", "function")
        self._function = function
        self._context_by = _context_by(function)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """See `Backend.stream`.

        Raises `BackendFailed` when the function returns no async iterator or yields anything but
        the pieces of `chatsvc.model`. What the function itself raises passes through.
        """
        messages = [_as_object(message) for message in prompt.messages]
        context = Context(options=prompt.options)
        if isinstance(prompt, PromptInContext):
            context = prompt.context
        if self._context_by == "place":
            pieces = self._function(messages, context)
        elif self._context_by == "name":
            pieces = self._function(messages, context=context)
        else:
            pieces = self._function(messages)
        if inspect.isawaitable(pieces):  # a coroutine that returns an iterator
            pieces = await pieces
        if not hasattr(pieces, "__aiter__"):
            raise BackendFailed(
                f"The backend {self.name} must give an async iterator of str."
            )
        async with AsyncExitStack() as stack:
            _close_with(stack, pieces)
            iterator = aiter(pieces)
            # The streams of many clients are an iterable with a close of its own, whose
            # iterator is a generator that has to be closed as well.
            if iterator is not pieces:
                _close_with(stack, iterator)
            async for piece in iterator:
                yield self._checked(piece)

    def _checked(self, piece: object) -> Piece:
        if isinstance(piece, str):
            # The log takes lone surrogates, but markup and the like would change what it joins.
            return piece if type(piece) is str else str.__str__(piece)
        kind = type(piece).__name__
        for name in _texts_of(piece):
            if not isinstance(value := getattr(piece, name), str):
                raise BackendFailed(
                    f"The backend {self.name} must yield {kind}.{name} as str,"
                    f" not {type(value).__name__}."
                )
        if isinstance(piece, (SidePiece, Usage, Finish)):
            return piece
        raise BackendFailed(f"The backend {self.name} must yield str, not {kind}.")

    async def open(self) -> None:
        """Do nothing: the function was imported when the backend was made."""

    async def close(self) -> None:
        """Do nothing: each call's resources are closed with its reply."""


def _as_object(message: Message) -> dict[str, Any]:
    """Return a message as functions get it: `content` is a string unless that would lose something."""
    members = message.members
    parts = members.get("content")
    if isinstance(parts, list) and not all(
        part.get("type") == "text" and part.keys() == {"type", "text"} for part in parts
    ):
        return message.as_dict()
    return {"role": message.role, **members, "content": message.content}


def _texts_of(piece: object) -> tuple[str, ...]:
    """Return the members of a piece that must be texts, where its part grows by them."""
    if isinstance(piece, Reasoning):
        return ("text",)
    return ("id", "name", "arguments") if isinstance(piece, ToolCall) else ()


def _context_by(function: Callable[..., Any]) -> str:
    """Return how a function takes the context: by its "place", by "name", or "" if it doesn't."""
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


def _close_with(stack: AsyncExitStack, resource: Any) -> None:
    if hasattr(resource, "aclose"):
        stack.push_async_callback(resource.aclose)


def load_function(path: str) -> FunctionBackend:
    """Return the backend of the function that `path`, as `package.module:function`, names.

    Raises `ValueError` with one line when the module can't be found, fails to be imported, or has
    no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself or a package above it, rather than something that it imports.
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ValueError(f"there is no module {module_name!r} to import") from None
        raise ValueError(f"importing {module_name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"importing {module_name!r} failed: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if function is None or not callable(function):
        raise ValueError(f"module {module_name!r} has no function {name!r}")
    return FunctionBackend(function, path)
