"""A reply as JSON, whole or as a snapshot (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
from aiohttp import web

from chatsvc.model import End
from chatsvc.problems import Draining
from chatsvc.replies import Reply, SentAway
from chatsvc.transports.response import REPLY_HEADERS


class Snapshot(msgspec.Struct):
    """A reply's state and its text between the positions `after` and `next` (code points)."""

    reply: str
    state: str
    finish_reason: str | None
    after: int
    text: str
    next: int


def snapshot(reply: Reply, after: int) -> Snapshot:
    """Return what is released behind position `after`.

    The state is final only when no text is left behind `next`.
    """
    released = max(after, reply.released_now())
    end = reply.end if released == reply.log.position else None
    return Snapshot(
        reply=reply.id,
        state=end.state if end is not None else "running",
        finish_reason=end.finish_reason if end is not None else None,
        after=after,
        text=reply.log.text(after, released),
        next=released,
    )


def json_response(reply: Reply, body: object, status: int = 200) -> web.Response:
    """Return a response about a reply whose body is JSON."""
    headers = {**REPLY_HEADERS, "X-Reply-Id": reply.id}
    if status == 503:
        # The node or its store cut the reply short: another attempt may succeed.
        headers["Retry-After"] = "1"
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers=headers,
    )


async def poll_response(
    reply: Reply, after: int, wait: float, *, started: bool = False
) -> web.Response:
    """Return a snapshot as soon as there is news, else after `wait` seconds.

    News is text behind `after`, or the end of the reply. Raises `Draining` when this node sends its
    readers away before there is news; but not if this request has `started` the reply, because then
    its id is news.
    """
    sent_away = False
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
                sent_away = True
        found = snapshot(reply, after)
    if sent_away and not started and not found.text and found.state == "running":
        # A snapshot without news would make the client ask this node again at once.
        raise Draining(retry_after=1)
    return json_response(reply, found)


async def until_end(reply: Reply) -> End:
    """Wait for the end of a reply, as one of its readers, and return it.

    Raises `Draining` when this node sends its readers away before.
    """
    with reply.reading():
        try:
            async with aclosing(reply.characters()) as characters:
                async for _ in characters:
                    pass
        except SentAway:
            raise Draining(retry_after=1) from None
    return reply.end or End("done", "stop")


async def whole_response(reply: Reply) -> web.Response:
    """Return a snapshot of the whole reply, once it has ended.

    For a reply that failed it is the problem, mostly a 502, with the members of the snapshot, and
    so the partial text, in it. Raises `Draining` when this node sends its readers away before.
    """
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
