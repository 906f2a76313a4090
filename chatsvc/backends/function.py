"""The backend `package.module:function`: the operator's own `async def function(messages)`.

It may take the `Context` of the request as well, and yield all pieces of `chatsvc.model`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

from chatsvc.backends.function_signature import (
    PIECES,
    RIGHT,
    RIGHT_PIECES,
    context_by,
    fault_of,
    is_doubtful,
)
from chatsvc.model import (
    ABILITIES,
    Context,
    Message,
    Piece,
    Prompt,
    PromptInContext,
    Reasoning,
    ToolCall,
)
from chatsvc.named_functions import import_function
from chatsvc.problems import BackendFailed

logger = logging.getLogger("chatsvc.backend")

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

    Raises `ValueError` with one line for what certainly is no such function: one that does not take
    these parameters, or that says of itself that it gives something else.
    """

    pace = 0.0
    lag = 0.5
    resumes = False
    takes = ABILITIES
    models = ("*",)

    def __init__(self, function: Callable[..., Any], name: str = "") -> None:
        self.name = name or getattr(function, "__name__", "function")
        if fault := fault_of(function):
            raise ValueError(f"{self.name} {fault}")
        if is_doubtful(function):
            logger.warning(
                "%s has no `yield`: unless it returns an async iterator, %s",
                self.name,
                RIGHT,
            )
        self._function = function
        self._context_by = context_by(function)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """See `Backend.stream`.

        Raises `BackendFailed` when the function returns no async iterator or yields anything but
        the pieces of `chatsvc.model`; its `words`, for the log, say what would be right. What the
        function itself raises passes through.
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
        # They belong to the function alone now: it may need them no more long before its end.
        del prompt, messages, context
        if inspect.isawaitable(pieces):  # a coroutine that returns an iterator
            pieces = await pieces
        if not hasattr(pieces, "__aiter__"):
            raise BackendFailed(
                f"The backend {self.name} must give an async iterator of str.",
                words=f"it gave {type(pieces).__name__}: {RIGHT}",
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
        if isinstance(piece, PIECES):
            return cast(Piece, piece)
        raise BackendFailed(
            f"The backend {self.name} must yield str, not {kind}.",
            words=f"it yielded {kind}: {RIGHT_PIECES}",
        )

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
    if isinstance(piece, ToolCall):
        return ("id", "name", "arguments", "type")
    return ()


def _close_with(stack: AsyncExitStack, resource: Any) -> None:
    if hasattr(resource, "aclose"):
        stack.push_async_callback(resource.aclose)


def load_function(path: str, folder: str = "") -> FunctionBackend:
    """Return the backend of the function that `path`, as `package.module:function`, names.

    Its module is looked for in `folder` first, by default the current one. Raises `ValueError` with
    one line when it can't be imported (see `import_function`), and when it certainly is no function
    of a backend (see `FunctionBackend`).
    """
    return FunctionBackend(import_function(path, folder), path)
