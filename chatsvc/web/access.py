"""The step from a parsed request to its reply, the same for HTTP and WebSocket."""

from __future__ import annotations

from aiohttp import web

from chatsvc.cursor import Offset
from chatsvc.model import Context
from chatsvc.replies import Reply
from chatsvc.requests.values import Caller, Read, Start, Stop
from chatsvc.tracing import TRACING
from chatsvc.web.app_keys import REPLIES
from chatsvc.web.descriptors import DESCRIPTORS
from chatsvc.web.tickets import bind, check_ticket, keyed_by_ticket, reply_begun
from chatsvc.web.use import USE, Place


async def start_reply(app: web.Application, asked: Start) -> tuple[Reply, Place]:
    """Start the reply that is asked for, or find the one with the same idempotency key.

    Return it with the place of its reading, which is taken first: no reply begins that can't be
    read. A caller with a ticket gets the reply that the ticket has begun already, if it is to the
    same prompt.

    Raises what `Use.take_place` and `Replies.start` raise, `Overloaded` when file descriptors run
    out, for the backend may need one, and `Unauthorized` for a ticket that has another reply.
    """
    app[DESCRIPTORS].check()
    place = app[USE].take_place(asked.caller)
    try:
        if asked.caller.ticket:
            reply = await _start_by_ticket(app, asked)
        else:
            reply = await _start(app, asked)
    except BaseException:
        place.leave()
        raise
    # A reply that another request has begun has another prompt, although it is the same.
    if app[TRACING] is not None and reply.record.prompt is not asked.prompt:
        trace_reading(app, reply, asked.caller, place, "repeated", 0)
    return reply, place


def trace_reading(
    app: web.Application,
    reply: Reply,
    caller: Caller,
    place: Place,
    transport: str,
    after: int,
) -> None:
    """Have a reading of a reply that another request has begun be a span, where there are traces.

    The span ends when `place` is left. `transport` is how it is read, `after` behind what.
    """
    tracing = app[TRACING]
    if tracing is not None:
        place.then = tracing.read(reply, caller.trace, transport, after)


async def _start_by_ticket(app: web.Application, asked: Start) -> Reply:
    begun = await reply_begun(app[REPLIES], asked)
    if begun is not None:
        return begun
    reply = await _start(app, keyed_by_ticket(asked))
    await bind(app[REPLIES], asked.caller.ticket, reply)
    return reply


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
        trace=asked.caller.trace,
    )


async def open_reply(app: web.Application, asked: Read | Stop) -> Reply:
    """Return the reply that is to be read or stopped: a caller's own, or that of a share link.

    Raises `ReplyNotFound`, `ReplyExpired`, `StoreUnavailable`, `CursorPastEnd` for a place that the
    reply has not reached, and `Unauthorized` for a ticket that is not good for this.
    """
    replies, ticket = app[REPLIES], asked.caller.ticket
    if isinstance(asked, Read) and asked.shared:
        reply = await replies.share_links.open(asked.reply_id)
    else:
        is_bound = not ticket or await check_ticket(replies, asked)
        reply = await replies.open(asked.reply_id, user=asked.caller.user)
        if not is_bound:
            await bind(replies, ticket, reply)
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
