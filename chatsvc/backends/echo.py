"""The backend `echo`: the user's last message comes back, to try things out and for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from chatsvc.model import Finish, Prompt


class EchoBackend:
    """The backend whose reply is the user's last message; without one the reply is empty.

    All of the text arrives at once, and the pace makes a stream of it.
    """

    name = "echo"
    pace = 0.1
    lag = None
    resumes = True

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """See `Backend.stream`."""
        for message in reversed(prompt.messages):
            if message.role == "user":
                # `written` has its line ends normalised, as a reply's text has (PROTOCOL.md
                # section 1); lengths agree only if the message has, too.
                text = message.content.replace("\r\n", "\n").replace("\r", "\n")
                yield text[len(prompt.written) :]
                return

    async def open(self) -> None:
        """Do nothing: there is nothing to start."""

    async def close(self) -> None:
        """Do nothing: there is nothing to give back."""
