"""The step from a parsed request to its reply, the same for HTTP and WebSocket."""

from __future__ import annotations

from aiohttp import web

from chatsvc.cursor import Offset
from chatsvc.model import Context
from chatsvc.replies import Reply
from chatsvc.requests.values import Read, Start, Stop
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.descriptors import DESCRIPTORS
from chatsvc.web.use import USE, Place


async def start_reply(app: web.Application, asked: Start) -> tuple[Reply, Place]:
    """Start the reply that is asked for, or find the one with the same idempotency key.

    Return it with the place of its reading, which is taken first: no reply begins that can't be
    read. Raises what `Use.take_place` and `Replies.start` raise, and `Overloaded` when file
    descriptors run out: the backend may need one.
    """
    app[DESCRIPTORS].check()
    place = app[USE].take_place(asked.caller)
    try:
        return await _start(app, asked), place
    except BaseException:
        place.leave()
        raise


async def _start(app: web.Application, asked: Start) -> Reply:
    return await app[REPLIES].start(
        asked.prompt,
        user=asked.caller.user,
        key=asked.key,
        digest=asked.digest,
        client=asked.caller.account,
        limits=asked.caller.limits,
        context=Context(chat=asked.chat, headers=asked.caller.headers),
        note=asked.note,
    )


async def open_reply(app: web.Application, asked: Read | Stop) -> Reply:
    """Return the reply that is to be read or stopped: a caller's own, or that of a share link.

    Raises `ReplyNotFound`, `ReplyExpired`, `StoreUnavailable`, and `CursorPastEnd` for a place that
    the reply has not reached.
    """
    replies = app[REPLIES]
    if isinstance(asked, Read) and asked.shared:
        reply = await replies.share_links.open(asked.reply_id)
    else:
        reply = await replies.open(asked.reply_id, user=asked.caller.user)
    if isinstance(asked, Read):
        if isinstance(asked.after, Offset):
            await replies.check_offset(reply, asked.after.units)
        elif asked.after is not None:
            await replies.check(reply, asked.after)
    return reply


def beginning(reply: Reply, asked: Read) -> int:
    """Return what a reading of a reply begins behind: an offset in a view of parts, else a position.

    `asked.after` may be either, in both views (PROTOCOL.md section 1); 0 stands for None.
    """
    after = asked.after or 0
    if isinstance(after, Offset):
        return after.units if asked.view.parts else reply.log.position_at(after.units)
    return reply.log.offset_at(after) if asked.view.parts else after
