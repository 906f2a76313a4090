"""A reply as JSON, whole or as a snapshot (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from chatsvc.model import End
from chatsvc.problems import Draining
from chatsvc.replies import Reply, SentAway
from chatsvc.replies.log_reader import Item
from chatsvc.transports.response import REPLY_HEADERS


class Snapshot(msgspec.Struct):
    """A reply's state and its text between the positions `after` and `next` (code points).

    `problem` is the problem object (RFC 9457) of a reply that failed; else the JSON has none.
    """

    reply: str
    state: str
    finish_reason: str | None
    after: int
    text: str
    next: int
    problem: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def snapshot(reply: Reply, shown_id: str, after: int) -> Snapshot:
    """Return what is released behind position `after`, of a reply that is to be called `shown_id`.

    The state is final only when no text is left behind `next`.
    """
    released = max(after, reply.released_now())
    end = reply.end if released == reply.log.position else None
    return Snapshot(
        reply=shown_id,
        state=end.state if end is not None else "running",
        finish_reason=end.finish_reason if end is not None else None,
        after=after,
        text=reply.log.text(after, released),
        next=released,
        problem=end.problem or msgspec.UNSET if end is not None else msgspec.UNSET,
    )


def json_response(shown_id: str, body: object, status: int = 200) -> web.Response:
    """Return a response whose body is JSON, about the reply that the headers call `shown_id`.

    That is the reply's id, or the token of a share link.
    """
    headers = {**REPLY_HEADERS, "X-Reply-Id": shown_id}
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
    reply: Reply, shown_id: str, after: int, wait: float, *, started: bool = False
) -> web.Response:
    """Return a snapshot as soon as there is news, else after `wait` seconds.

    `shown_id` is what it calls the reply. News is text behind `after`, or the end of the reply.
    Raises `Draining` when this node sends its readers away before there is news; but not if this
    request has `started` the reply, because then its id is news.
    """
    sent_away = False
    with reply.reading():
        if wait and reply.released_now() <= after and reply.end is None:
            async with aclosing(reply.characters(after)) as characters:
                sent_away = await wait_for_news(characters, wait)
        found = snapshot(reply, shown_id, after)
    if sent_away and not started and not found.text and found.state == "running":
        # A snapshot without news would make the client ask this node again at once.
        raise Draining(retry_after=1)
    return json_response(shown_id, found)


async def wait_for_news(
    reader: AsyncIterator[Item],
    wait: float,
    is_news: Callable[[Item], bool] = lambda item: True,
) -> bool:
    """Wait until a reader yields what `is_news`, or its end, but at most `wait` seconds.

    Returns whether this node sends its readers away.
    """
    try:
        async with asyncio.timeout(wait):
            async for item in reader:
                if is_news(item):
                    break
    except TimeoutError:
        pass
    except SentAway:
        return True
    return False


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
    whole = snapshot(reply, reply.id, 0)
    whole.problem = msgspec.UNSET  # it is what the members stand in
    return ended_response(reply, end, msgspec.to_builtins(whole))


def ended_response(reply: Reply, end: End, body: dict[str, Any]) -> web.Response:
    """Return the response with a whole reply, which ended as `end` says.

    For one that failed it is the problem, with the members of `body` in it.
    """
    if end.state != "failed":
        return json_response(reply.id, body)
    problem = end.problem or {}
    response = json_response(
        reply.id, {**problem, **body}, int(problem.get("status", 502))
    )
    response.content_type = "application/problem+json"
    return response
