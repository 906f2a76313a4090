"""One question to a scripted model server by the backend `openai`, and what came of it."""

import asyncio
from contextlib import aclosing
from typing import Any

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish, Message, Prompt
from chatsvc.problems import BackendFailed
from tests.scripted_upstream import Upstream

PROMPT = Prompt((Message("user", "你好"),))


async def asked(
    upstream: Upstream, prompt: Prompt = PROMPT, **options: Any
) -> tuple[str, Finish | None, str]:
    """Return the text, the finish and a failure's detail; check that nothing is left running."""
    before = asyncio.all_tasks()
    text, finish, failure = "", None, ""
    async with upstream.running() as url:
        backend = OpenAIBackend(url, **{"first_backoff": 0.0, **options})
        try:
            async with aclosing(backend.stream(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Finish):
                        finish = piece
                    else:
                        text += piece
        except BackendFailed as error:
            failure = error.detail
        await asyncio.wait_for(upstream.left.wait(), 10)  # while the backend is open
        await backend.close()
    assert upstream.open == 0
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
    return text, finish, failure
