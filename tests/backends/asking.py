"""One question to a scripted model server by the backend `openai`, and what came of it."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

import pytest
from yarl import URL

from chatsvc.backends import upstream as upstream_module
from chatsvc.backends.exchange import Route
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.backends.proxied import SessionRoute
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
                    elif isinstance(piece, str):
                        text += piece
        except BackendFailed as error:
            failure = error.detail
        await asyncio.wait_for(upstream.left.wait(), 10)  # while the backend is open
        await backend.close()
    assert upstream.open == 0
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()
    return text, finish, failure


@pytest.fixture(scope="module", params=["direct", "session"])
def route(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests over both routes to a model's server: each keeps the same promises."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "session":
            patch.setattr(upstream_module, "route_to", session_route)
        yield


def session_route(
    url: URL, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
) -> Route:
    """Return the route by aiohttp's client, which is else taken only where there is a proxy."""
    return SessionRoute(url, headers, connect_timeout, read_timeout, None)
