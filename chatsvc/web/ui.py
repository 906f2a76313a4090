"""The endpoints of the AI SDK's `useChat` (PROTOCOL.md section 5)."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web
from msgspec.structs import replace

from chatsvc.problems import StoreUnavailable
from chatsvc.replies import Reply
from chatsvc.requests.ui_messages import decode_continued, encode_continued
from chatsvc.transports.ui import UIChunks
from chatsvc.web.access import start_reply, trace_reading
from chatsvc.web.app_keys import REPLIES, service
from chatsvc.web.names import chat_name, find_kept, find_named, message_name
from chatsvc.web.parsing import caller_of, keyed_start, read_turn
from chatsvc.web.readers import stream_response
from chatsvc.web.use import USE, Place


async def post_turn(request: web.Request) -> web.StreamResponse:
    """Answer `POST /api/ui`: give the chat's next reply, and stop the one before if it still runs.

    The stop is stored when the answer begins, but the old reply's producer may not have ended yet.
    Two strangers may choose the same short id: their chats have only replies that nobody resumes.
    """
    app = service(request)
    replies = app[REPLIES]
    turn = await read_turn(request)
    note = encode_continued(turn.continued)
    asked = replace(keyed_start(request, turn.prompt), chat=turn.chat_id, note=note)
    reply, place = await start_reply(app, asked)
    caller = caller_of(request)
    if turn.continued.message:
        message = message_name(caller, turn.continued.message)
        if message is not None:
            await replies.remember_name(message, reply.id)
    chat = chat_name(caller, turn.chat_id)
    if chat is not None:
        # One step gives the name to this reply and returns the one that had it: the chat's next
        # message may be under way already.
        before = await replies.remember_name(chat, reply.id)
        last = await find_kept(replies, caller, before)
        if last is not None and last.id != reply.id and last.end is None:
            await replies.stop(last)
    return _stream(request, reply, place, chat)


async def get_turn(request: web.Request) -> web.StreamResponse:
    """Answer `GET /api/ui/{chat}/stream`: give the chat's last reply from its start, or 204.

    A reply that has ended is given until its end has been written whole to a page: one that was cut
    off shortly before has not seen the end, and one that has it would show the reply, and run its
    tools, twice.
    """
    caller = caller_of(request)
    chat = chat_name(caller, request.match_info["chat"])
    reply = await find_named(service(request)[REPLIES], caller, chat)
    if reply is None:
        return web.Response(status=204)
    app = service(request)
    place = app[USE].take_place(caller)
    trace_reading(app, reply, caller, place, UIChunks.transport, 0)
    return _stream(request, reply, place, chat, replay=True)


def _stream(
    request: web.Request,
    reply: Reply,
    place: Place,
    chat: str | None,
    *,
    replay: bool = False,
) -> web.StreamResponse:
    """Return the response that gives a reply, after which its chat's name stands for it no more."""

    async def forget() -> None:
        if chat is not None:
            with suppress(
                StoreUnavailable
            ):  # then the page may be given the reply again
                await service(request)[REPLIES].forget_name(chat, reply.id)

    continued = decode_continued(reply.record.note)
    codec = UIChunks(reply.id, continued, replay=replay)
    return stream_response(request, reply, codec, place, delivered=forget)


def add_ui(app: web.Application) -> None:
    """Add the endpoints to an application."""
    app.router.add_post("/api/ui", post_turn)
    app.router.add_get("/api/ui/{chat}/stream", get_turn, allow_head=False)
