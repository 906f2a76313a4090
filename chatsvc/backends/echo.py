"""`echo`: gives the user's last message back. For trying out, for tests, for building a front end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from chatsvc.model import Finish, Prompt


class EchoBackend:
    """All of the text arrives at once; the pace makes a stream of it."""

    name = "echo"
    pace = 0.1
    lag = None
    resumes = True

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Finish, None]:
        """The last message of the user, or nothing if there is none."""
        for message in reversed(prompt.messages):
            if message.role == "user":
                # Positions count line ends as they are in a reply (PROTOCOL.md section 1).
                text = message.content.replace("\r\n", "\n").replace("\r", "\n")
                yield text[len(prompt.written) :]
                return

    async def open(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to give back."""
