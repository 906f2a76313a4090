"""`package.module:function`: the user's own `async def function(messages) -> AsyncIterator[str]`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

from chatsvc.model import Finish, Prompt
from chatsvc.problems import BackendFailed

Function = Callable[[list[dict[str, str]]], AsyncIterator[str]]
"""What a user writes: gives the reply's text to a conversation, a list of `{"role", "content"}`, in pieces of any size."""


class FunctionBackend:
    """Calls a function with the conversation, as a list of `{"role", "content"}`, and gives what it yields."""

    pace = 0.0
    lag = 0.5
    resumes = False

    def __init__(self, function: Callable[..., Any], name: str = "") -> None:
        self.name = name or getattr(function, "__name__", "function")
        self._function = function

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """What the function yields. Raises `BackendFailed` when that isn't text."""
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
            if iterator is not pieces:
                _close_with(stack, iterator)
            async for piece in iterator:
                if not isinstance(piece, (str, Finish)):
                    raise BackendFailed(
                        f"The backend {self.name} must yield str, not {type(piece).__name__}."
                    )
                yield piece

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""


def _close_with(stack: AsyncExitStack, opened: Any) -> None:
    if hasattr(opened, "aclose"):
        stack.push_async_callback(opened.aclose)


def load_function(path: str) -> FunctionBackend:
    """The backend of `package.module:function`. Raises `ValueError` that says what is wrong with it."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
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
