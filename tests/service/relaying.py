"""A client of a scripted model, run directly and through the service: both must come to the same."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.settings import Settings
from tests.model_turns import Turn
from tests.scripted_upstream import Upstream

from .running import inside


def asked(request: dict[str, Any]) -> dict[str, Any]:
    """Return what a model was asked, but for how the answer is to come."""
    return {
        name: value
        for name, value in request.items()
        if name not in ("stream", "stream_options")
    }


async def relayed(
    run: Callable[[str], Awaitable[Any]], *turns: Turn
) -> tuple[Any, list[dict[str, Any]]]:
    """Await `run` with the `/v1` of a model's server that has some turns, and with the service's.

    What it returns must be the same, and what the model was asked. Returns both.
    """
    model = Upstream(*turns)
    async with model.running() as url:
        directly = _plain(await run(url))
    behind = Upstream(*turns)
    async with behind.running() as url:
        backend = OpenAIBackend(url, "real", models=["*"])
        async with inside(Settings(pace=0), backend=backend) as chat:
            through = _plain(await run(f"{chat.url}/v1"))
            await chat.nothing_left()
    assert through == directly
    assert [*map(asked, behind.requests)] == [*map(asked, model.requests)]
    assert all(request["stream"] for request in behind.requests)
    return directly, model.requests


def _plain(found: Any) -> Any:
    return json.loads(json.dumps(found))
