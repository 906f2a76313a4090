"""What the HTTP transports share: the question, URLs, problems, broken connections."""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from chatsvc.client.reading import Step
from chatsvc.client.signals import (
    Broken,
    Ended,
    EndUnknown,
    Problem,
    Refused,
    Signal,
    TextReceived,
)
from chatsvc.retry_after import retry_after

_PROBLEM_LIMIT = 1 << 20  # bytes; a failed whole answer carries the text so far


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a transport waits for what."""

    headers: float = 4.0
    first_byte: float = 1.0
    silence: float = 37.5
    """Two and a half heartbeats (PROTOCOL.md section 3)."""
    poll: float = 25.0
    """That a long poll asks the server to wait."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom; the same for every attempt."""

    base: URL
    """The service's root, with its prefix and a slash at the end."""
    body: Mapping[str, Any]
    """The request body of PROTOCOL.md section 2."""
    key: str
    """The idempotency key."""
    patience: Patience = field(default_factory=Patience)
    wary: bool = False
    """There are other transports: leave one that a proxy spoils."""

    def url(self, step: Step, **query: str | float) -> URL:
        """Give where `step` reads."""
        path = "api/chat" if step.reply is None else f"api/chat/{step.reply}"
        if step.reply is not None:
            query["after"] = step.after
        return self.base.joinpath(path).with_query(query)


@asynccontextmanager
async def send_step(
    session: aiohttp.ClientSession,
    question: Question,
    step: Step,
    accept: str,
    **query: str | float,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a step's request and give the response, whatever its status."""
    headers = {"Accept": accept}
    url = question.url(step, **query)
    if step.reply is None:
        headers["Idempotency-Key"] = question.key
        # ASCII, escapes and all: a lone surrogate of the command line gets its 400.
        data = json.dumps(question.body).encode()
        headers["Content-Type"] = "application/json"
        request = session.post(url, data=data, headers=headers)
    else:
        request = session.get(url, headers=headers)
    async with request as response:
        yield response


async def refusal(response: aiohttp.ClientResponse) -> AsyncGenerator[Signal, None]:
    """Give what a response that is not the wanted 200 means."""
    if response.status == 204:
        yield EndUnknown()
        return
    if response.history and response.history[0].method != response.method:
        # A redirect made a GET of the POST: what this says is not about the question.
        root = str(response.url.with_query(None)).removesuffix("api/chat")
        title = f"the server redirects the question, which gets lost; ask {root}"
        yield Refused(Problem(response.history[0].status, title))
        return
    raw = await response.content.read(_PROBLEM_LIMIT)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    problem = problem_of(body, response.status, response.reason or "")
    if isinstance(body, dict) and isinstance(body.get("text"), str):
        # A whole answer that failed: the partial text comes with its problem.
        after = body.get("after")
        start = after if isinstance(after, int) else 0
        yield TextReceived(start + len(body["text"]), body["text"])
        yield Ended("failed", problem)
    elif response.status in (429, 503):
        yield Refused(problem, retry_after(response.headers.get("Retry-After")) or 0.0)
    elif response.status >= 500 and not problem.code:
        yield Broken(f"the server answered {response.status} {response.reason}")
    else:
        yield Refused(problem)


def problem_of(body: object, status: int, title: str) -> Problem:
    """Read a problem (PROTOCOL.md section 6) from JSON that may be one."""
    if not isinstance(body, dict):
        return Problem(status, f"the server answered {status} {title}".rstrip())
    kind = body.get("type")
    return Problem(
        body["status"] if isinstance(body.get("status"), int) else status,
        str(body.get("title") or title or "the server refused"),
        str(body.get("detail") or ""),
        kind.rpartition("/")[2] if isinstance(kind, str) else "",
    )


def broken(error: Exception) -> Broken:
    """Say in words how a connection broke."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        why = os.strerror(number) if number else str(error.os_error)
        return Broken(f"can't reach {error.host}:{error.port}: {why}", unreachable=True)
    if isinstance(error, TimeoutError):
        return Broken("the connection fell silent")
    return Broken("the connection broke")
