"""`POST /api/ui` and `GET /api/ui/{chat}/stream`: a backend for the AI SDK's `useChat` (PROTOCOL.md section 2)."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from aiohttp import web

from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.replies import Reply
from chatsvc.requests import BODY_FACTOR
from chatsvc.transports.response import ReplyResponse, is_chunked
from chatsvc.transports.ui import UI_HEADERS, UIChunks, parse_turn
from chatsvc.web.app_keys import REPLIES, SETTINGS, service
from chatsvc.web.readers import Reader
from chatsvc.web.routes import begin, read_body, user


async def post_turn(request: web.Request) -> web.StreamResponse:
    """`POST /api/ui`: the chat's next reply; one of the same chat that still runs is stopped, nobody waits for it."""
    app = service(request)
    limit = app[SETTINGS].max_message
    turn = parse_turn(await read_body(request, limit * BODY_FACTOR), limit)
    reply = await begin(request, turn.prompt)
    # In one step, for the next message may come at once.
    name = _name(user(request), turn.chat)
    before = await _known(request, await app[REPLIES].store.remember(name, reply.id))
    if before is not None and before.id != reply.id and before.end is None:
        await app[REPLIES].stop(before)
    return _stream(request, reply)


async def get_turn(request: web.Request) -> web.StreamResponse:
    """`GET /api/ui/{chat}/stream`: the chat's last reply from its start, as long as it is kept; 204 without one.

    One that has ended is given too: whoever was cut off shortly before the end has not seen it.
    """
    reply = await _last(request, request.match_info["chat"])
    return web.Response(status=204) if reply is None else _stream(request, reply)


async def _last(request: web.Request, chat: str) -> Reply | None:
    replies = service(request)[REPLIES]
    return await _known(request, await replies.store.recall(_name(user(request), chat)))


async def _known(request: web.Request, reply_id: str | None) -> Reply | None:
    if reply_id is not None:
        with suppress(ReplyNotFound, ReplyExpired):
            return await service(request)[REPLIES].open(reply_id, user=user(request))
    return None


def _stream(request: web.Request, reply: Reply) -> ReplyResponse:
    chunks = UIChunks(reply.id, chunked=is_chunked(request))
    return ReplyResponse(
        request,
        reply,
        0,
        Reader(request, "ui"),
        chunks,
        first=chunks.first(),
        headers=UI_HEADERS,
    )


def _name(user: str, chat: str) -> str:
    """What the store knows a user's chat by: knowing a chat's id is the right to read it, so the id isn't kept."""
    return hashlib.sha256(f"{len(user)}:{user}{chat}".encode()).hexdigest()


def add_ui(app: web.Application) -> None:
    """The endpoints of the AI SDK."""
    app.router.add_post("/api/ui", post_turn)
    app.router.add_get("/api/ui/{chat}/stream", get_turn, allow_head=False)
