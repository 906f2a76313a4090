"""The endpoints of the AI SDK's `useChat` (PROTOCOL.md section 5)."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from aiohttp import web
from msgspec.structs import replace

from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.replies import Reply
from chatsvc.transports.ui import UIChunks
from chatsvc.web.access import start_reply
from chatsvc.web.app_keys import REPLIES, service
from chatsvc.web.parsing import caller_of, keyed_start, read_turn
from chatsvc.web.readers import stream_response


async def post_turn(request: web.Request) -> web.StreamResponse:
    """Answer `POST /api/ui`: give the chat's next reply, and stop the one before if it still runs.

    The stop is stored when the answer begins, but the old reply's producer may not have ended yet.
    Two strangers may choose the same short id: their chats have only replies that nobody resumes.
    """
    app = service(request)
    turn = await read_turn(request)
    asked = replace(keyed_start(request, turn.prompt), chat=turn.chat_id)
    reply = await start_reply(app, asked)
    caller = caller_of(request)
    if caller.shares(turn.chat_id):
        # One step gives the name to this reply and returns the one that had it: the chat's next
        # message may be under way already.
        name = _chat_name(caller.user, turn.chat_id)
        last = await _find(request, await app[REPLIES].remember_name(name, reply.id))
        if last is not None and last.id != reply.id and last.end is None:
            await app[REPLIES].stop(last)
    return stream_response(request, reply, UIChunks(reply.id))


async def get_turn(request: web.Request) -> web.StreamResponse:
    """Answer `GET /api/ui/{chat}/stream`: give the chat's last reply from its start, or 204.

    A reply that has ended is given too: a page that was cut off shortly before the end has not seen
    the end.
    """
    caller, chat_id = caller_of(request), request.match_info["chat"]
    reply = None
    if caller.shares(chat_id):
        name = _chat_name(caller.user, chat_id)
        reply = await _find(request, await service(request)[REPLIES].recall_name(name))
    if reply is None:
        return web.Response(status=204)
    return stream_response(request, reply, UIChunks(reply.id))


async def _find(request: web.Request, reply_id: str | None) -> Reply | None:
    if reply_id is not None:
        with suppress(ReplyNotFound, ReplyExpired):
            replies = service(request)[REPLIES]
            return await replies.open(reply_id, user=caller_of(request).user)
    return None


def _chat_name(user: str, chat_id: str) -> str:
    """Return the name by which the store knows a user's chat.

    It is a digest, because knowing a chat's id is the right to read it.
    """
    return hashlib.sha256(f"{len(user)}:{user}{chat_id}".encode()).hexdigest()


def add_ui(app: web.Application) -> None:
    """Add the endpoints to an application."""
    app.router.add_post("/api/ui", post_turn)
    app.router.add_get("/api/ui/{chat}/stream", get_turn, allow_head=False)
