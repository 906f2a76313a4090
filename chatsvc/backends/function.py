"""The backend `package.module:function`: the operator's own `async def function(messages)`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

from chatsvc.model import Finish, Prompt
from chatsvc.problems import BackendFailed

Function = Callable[[list[dict[str, str]]], AsyncIterator[str]]
"""The type of an operator's function: it takes the conversation, a list of `{"role", "content"}`
with the oldest message first, and returns an async iterator of the reply's text in pieces of any
size. Most are async generators; a coroutine function that returns an async iterator will do."""


class FunctionBackend:
    """The backend that calls `function` once for each reply.

    `name` is the backend's name, by default that of the function. What the function returns is
    closed with the reply if it has an `aclose`, and so is the iterator that it gives.
    """

    pace = 0.0
    lag = 0.5
    resumes = False

    def __init__(self, function: Callable[..., Any], name: str = "") -> None:
        self.name = name or getattr(function, "__name__", "function")
        self._function = function

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """See `Backend.stream`.

        Raises `BackendFailed` when the function returns no async iterator or yields anything but
        `str` and `Finish`. What the function itself raises passes through.
        """
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
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

    def _checked(self, piece: object) -> str | Finish:
        if isinstance(piece, Finish):
            return piece
        if isinstance(piece, str):
            # The log takes lone surrogates, but markup and the like would change what it joins.
            return piece if type(piece) is str else str.__str__(piece)
        raise BackendFailed(
            f"The backend {self.name} must yield str, not {type(piece).__name__}."
        )

    async def open(self) -> None:
        """Do nothing: the function was imported when the backend was made."""

    async def close(self) -> None:
        """Do nothing: each call's resources are closed with its reply."""


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
