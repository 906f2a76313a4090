"""A scripted model's server whose replies end in each way that there is, chosen by the question."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from chatsvc.settings import Settings
from tests.scripted_upstream import DONE, HANG, Part, Upstream, chunk, head
from tests.service.running import Inside, inside

WORDS = "This prompt has 9000 tokens, and the model takes 8192."
"""A model's server's own words about what was sent."""


def _error(status: str, words: str, more: str = "") -> list[Part]:
    body = json.dumps({"error": {"message": words, "type": "x", "code": "x"}}).encode()
    length = f"Content-Length: {len(body)}\r\n"
    return [head(status, "application/json", length + more) + body]


def _reply(text: str, reason: str | None, *rest: Part) -> list[Part]:
    parts: list[Part] = [head(), chunk("")]
    if text:
        parts.append(chunk(text))
    if reason is not None:
        parts += [chunk(None, finish_reason=reason), DONE]
    return [*parts, *rest]


SCRIPTS: dict[str, list[Part]] = {
    "whole": _reply("All of it.", "stop"),
    "length": _reply("The first half", "length"),
    "length, nothing": _reply("", "length"),
    "filter": _reply("The first half", "content_filter"),
    "filter, nothing": _reply("", "content_filter"),
    "nothing": _reply("", "stop"),
    "busy": _error("429 Too Many Requests", "slow down", "Retry-After: 0\r\n"),
    "refused": _error("400 Bad Request", WORDS),
    "misconfigured": _error("401 Unauthorized", "bad key sk-secret"),
    "broken": _reply("The first half", None),
    "hang": [head(), chunk("The first half"), HANG],
    "silent": [HANG],
}
"""What the model's server sends, by the question."""


def answer(asked: dict[str, Any]) -> Iterable[Part]:
    """Return the script of the last question; of one that is none, the whole reply."""
    return SCRIPTS.get(asked["messages"][-1]["content"], SCRIPTS["whole"])


@asynccontextmanager
async def ending() -> AsyncIterator[tuple[Inside, Upstream]]:
    """Run a service before such a model's server."""
    upstream = Upstream(answer)
    async with upstream.running() as url:
        settings = Settings(backend="openai", openai_url=url, pace=0)
        async with inside(settings) as chat:
            yield chat, upstream
