"""What answers a prompt: the interface of a backend.

A backend is one object with a name and one method that gives an async generator of text. The generator is closed
when the reply is stopped, abandoned or too long; whatever it holds open it closes then, in its own `finally`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from chatsvc.model import Finish, Prompt


class Backend(Protocol):
    """Gives the text of a reply.

    `pace` is the default of the seconds between two characters, `lag` the seconds that release may fall behind
    arrival (None: the pace is all that counts), `resumes` whether it can carry on from `Prompt.written`.
    """

    @property
    def name(self) -> str: ...
    @property
    def pace(self) -> float: ...
    @property
    def lag(self) -> float | None: ...
    @property
    def resumes(self) -> bool: ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """The reply's text in pieces of any size, optionally a `Finish`.

        Raises `BackendFailed` with a sentence for the user; anything else it raises is logged and told as a failure
        without its text.
        """
        ...

    async def open(self) -> None:
        """Start what it needs; called once, before the first prompt."""

    async def close(self) -> None:
        """Give back what it holds; called once, after the last reply has ended."""


def model_name(backend: Backend) -> str:
    """What OpenAI's clients know a backend by: its `model`, where it has one, else its name."""
    return getattr(backend, "model", "") or backend.name
