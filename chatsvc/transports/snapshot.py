"""A reply as JSON: whole, or what there is of it, with or without waiting (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
from aiohttp import web

from chatsvc.model import End
from chatsvc.problems import Draining
from chatsvc.replies import Reply, SentAway
from chatsvc.transports.response import HEADERS

LONGEST_WAIT = 30
"""Seconds that a long poll may last."""


class Snapshot(msgspec.Struct):
    """The text between two positions, and how things stand."""

    reply: str
    state: str
    finish_reason: str | None
    after: int
    text: str
    next: int


def snapshot(reply: Reply, after: int) -> Snapshot:
    """What is out after a position. The state is final only when nothing is left behind `next`."""
    out = max(after, reply.released_now())
    end = reply.end if out == reply.log.position else None
    return Snapshot(
        reply=reply.id,
        state=end.state if end is not None else "running",
        finish_reason=end.finish_reason if end is not None else None,
        after=after,
        text=reply.log.text(after, out),
        next=out,
    )


def json_response(reply: Reply, body: object, status: int = 200) -> web.Response:
    """A JSON answer about a reply."""
    headers = {**HEADERS, "X-Reply-Id": reply.id}
    if status == 503:
        # The node or its store cut the reply: another attempt may go through.
        headers["Retry-After"] = "1"
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers=headers,
    )


async def poll(
    reply: Reply, after: int, wait: float, *, begun: bool = False
) -> web.Response:
    """A snapshot, as soon as there is text after `after` or the reply has ended, else after `wait` seconds.

    Raises `Draining` when this node goes before there is anything to tell; not if the reply was `begun` with this
    request, for then its id is something to tell.
    """
    moved = False
    with reply.reading():
        if wait and reply.released_now() <= after and reply.end is None:
            try:
                async with (
                    asyncio.timeout(wait),
                    aclosing(reply.characters(after)) as characters,
                ):
                    async for _ in characters:
                        break
            except TimeoutError:
                pass
            except SentAway:
                moved = True
        told = snapshot(reply, after)
    if moved and not begun and not told.text and told.state == "running":
        raise Draining(retry_after=1)  # or the client would ask again at once
    return json_response(reply, told)


async def until_end(reply: Reply) -> End:
    """Wait for the end of a reply, as one of its readers. Raises `Draining` when this node goes before."""
    with reply.reading():
        try:
            async with aclosing(reply.characters()) as characters:
                async for _ in characters:
                    pass
        except SentAway:
            raise Draining(retry_after=1) from None
    return reply.end or End("done", "stop")


async def whole(reply: Reply) -> web.Response:
    """The reply when it has ended. A failed one is a 502 that holds the partial text as well."""
    end = await until_end(reply)
    body = msgspec.to_builtins(snapshot(reply, 0))
    if end.state != "failed":
        return json_response(reply, body)
    problem = end.problem or {}
    response = json_response(
        reply, {**problem, **body}, int(problem.get("status", 502))
    )
    response.content_type = "application/problem+json"
    return response
