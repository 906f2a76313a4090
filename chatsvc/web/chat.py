"""The endpoints of chatsvc's own API over HTTP (PROTOCOL.md section 2)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from chatsvc.problems import ReplyExpired, ReplyNotFound
from chatsvc.rendering.renderer import Renderer
from chatsvc.replies import Reply
from chatsvc.requests.values import Read, Start, Stop
from chatsvc.transports.block_stream import Rendering
from chatsvc.transports.html import html_response
from chatsvc.transports.part_snapshot import parts_poll_response, whole_parts_response
from chatsvc.transports.rendered_reply import RenderedReplies
from chatsvc.transports.snapshot import json_response, poll_response, whole_response
from chatsvc.transports.table import make_codec
from chatsvc.web.access import beginning, open_reply, start_reply, trace_reading
from chatsvc.web.app_keys import REPLIES, REPLY, service
from chatsvc.web.bodies import JSON
from chatsvc.web.metrics import METRICS
from chatsvc.web.names import find_named, message_name
from chatsvc.web.parsing import (
    HTML,
    read_get_chat,
    read_get_reply,
    read_get_shared,
    read_post_chat,
    read_stop,
)
from chatsvc.web.proxies import PROXIES
from chatsvc.web.readers import stream_response
from chatsvc.web.use import USE

RENDERER = web.AppKey("renderer", Renderer)
"""The key of what renders the application's replies."""

RENDERED = web.AppKey("rendered", RenderedReplies)
"""The key of the rendered blocks of the replies that are read so."""


async def post_chat(request: web.Request) -> web.StreamResponse:
    """Answer `POST /api/chat`: start a reply and give it, or give that of `Last-Event-ID`."""
    return await _answer(request, await read_post_chat(request))


async def get_chat(request: web.Request) -> web.StreamResponse:
    """Answer `GET /api/chat?message=…`, as `post_chat` does, for a native `EventSource`."""
    return await _answer(request, read_get_chat(request))


async def get_reply(request: web.Request) -> web.StreamResponse:
    """Answer `GET /api/chat/{reply}`: give a reply from a cursor, as a snapshot, or rendered."""
    return await _answer(request, read_get_reply(request))


async def stop_reply(request: web.Request) -> web.Response:
    """Answer `POST /api/chat/{reply}/stop`: stop a reply; stopping twice is no error.

    The id may be that of an AI SDK's message. It is its first reply's, or the page's own, and what is
    to be stopped is the reply that goes on with the message.
    """
    app = service(request)
    replies = app[REPLIES]
    reply = await _find_to_stop(app, read_stop(request))
    request[REPLY] = reply.id[:6]
    await replies.stop(reply)
    ended = await replies.stopped(reply)
    body = {
        "reply": reply.id,
        "state": reply.state,
        "next": reply.released_now(),
        "offset": reply.released_offset_now(),
    }
    return json_response(reply.id, body, 200 if ended else 202)


async def share_reply(request: web.Request) -> web.Response:
    """Answer `POST /api/chat/{reply}/share`: give the token of the reply's share link.

    It is the same for each request, until the link is withdrawn.
    """
    app, asked = service(request), read_stop(request)
    reply = await open_reply(app, asked)
    request[REPLY] = reply.id[:6]
    token = await app[REPLIES].share_links.make(reply)
    below = app[PROXIES].path_prefix(request)
    path = below + request.path.removesuffix(f"/chat/{asked.reply_id}/share")
    body = {"token": token, "path": f"{path}/shared/{token}"}
    return json_response(reply.id, body)


async def unshare_reply(request: web.Request) -> web.Response:
    """Answer `POST /api/chat/{reply}/unshare`: withdraw the reply's share link, if it has one."""
    app = service(request)
    reply = await open_reply(app, read_stop(request))
    request[REPLY] = reply.id[:6]
    await app[REPLIES].share_links.withdraw(reply)
    return web.Response(status=204, headers={"X-Reply-Id": reply.id})


async def get_shared(request: web.Request) -> web.StreamResponse:
    """Answer `GET /api/shared/{token}`: give the reply of a share link, as `get_reply` does."""
    return await _answer(request, read_get_shared(request))


async def get_question(request: web.Request) -> web.Response:
    """Answer `GET /api/shared/{token}/question`: give what the reply answers, or null."""
    token = request.match_info["token"]
    reply = await service(request)[REPLIES].share_links.open(token)
    request[REPLY] = reply.id[:6]
    return json_response(token, {"question": reply.record.prompt.question})


async def _find_to_stop(app: web.Application, asked: Stop) -> Reply:
    """Return the reply that is to be stopped. Raises as `open_reply`."""
    name = message_name(asked.caller, asked.reply_id)
    try:
        reply = await open_reply(app, asked)
    except (ReplyNotFound, ReplyExpired):
        named = await find_named(app[REPLIES], asked.caller, name)
        if named is None:
            raise
        return named
    if reply.end is None:
        return reply
    return await find_named(app[REPLIES], asked.caller, name) or reply


async def _answer(request: web.Request, asked: Start | Read) -> web.StreamResponse:
    """Return what is asked for in the representation that is asked for. Raises a `Problem`."""
    app = service(request)
    if isinstance(asked, Start):
        (reply, place), after = await start_reply(app, asked), 0
        shown_id = reply.id
        request[REPLY] = shown_id[:6]
    else:
        # By a share link it is known by the token alone: the id is the right to stop it as well.
        reply, shown_id = await open_reply(app, asked), asked.reply_id
        request[REPLY] = reply.id[:6]
        if asked.after is None:  # nothing is left: 204 ends an `EventSource` [WHATWG]
            return web.Response(status=204, headers={"X-Reply-Id": shown_id})
        after = beginning(reply, asked)
        place = app[USE].take_place(asked.caller)
        transport = asked.view.representation
        trace_reading(app, reply, asked.caller, place, transport, after)
    if asked.view.representation == JSON:
        with place:
            return await _json(request, reply, shown_id, after, asked)
    if asked.view.representation == HTML:
        with place, app[METRICS].reading("html"), reply.reading():
            account = asked.caller.account
            return await html_response(reply, shown_id, app[RENDERER], account)
    codec = make_codec(shown_id, asked.view)
    rendering = rendering_of(app, asked, shown_id)
    return stream_response(
        request, reply, codec, place, after, shown_id=shown_id, rendering=rendering
    )


def rendering_of(
    app: web.Application, asked: Start | Read, shown_id: str
) -> Rendering | None:
    """Return how the blocks of a reply are rendered for a request, or None if it asks for none.

    `shown_id` is what the request calls the reply.
    """
    view = asked.view
    if not view.render:
        return None
    return Rendering(app[RENDERED], asked.caller.account, view.rendered, shown_id)


async def _json(
    request: web.Request, reply: Reply, shown_id: str, after: int, asked: Start | Read
) -> web.Response:
    """Return a snapshot, or the whole reply once it has ended.

    The whole reply is for a request that starts it and has no `wait`. `shown_id` is what the answer
    calls the reply. `after` is an offset in a view of parts, else a position.
    """
    metrics, wait = service(request)[METRICS], asked.view.wait
    poll, whole = poll_response, whole_response
    if asked.view.parts:
        poll, whole = parts_poll_response, whole_parts_response
    if isinstance(asked, Read):
        with metrics.reading("poll"):
            return await poll(reply, shown_id, after, wait or 0)
    with metrics.reading("json"):
        if wait is None:
            return await whole(reply)
        return await poll(reply, shown_id, 0, wait, started=True)


async def _render(app: web.Application) -> AsyncIterator[None]:
    """Provide what renders replies, and end its processes with the application."""
    renderer = app[RENDERER] = Renderer()
    app[RENDERED] = RenderedReplies(renderer)
    yield
    await renderer.close()


def add_chat(app: web.Application) -> None:
    """Add the endpoints to an application."""
    app.cleanup_ctx.append(_render)
    app.router.add_post("/api/chat", post_chat)
    app.router.add_get("/api/chat", get_chat, allow_head=False)
    app.router.add_get("/api/chat/{reply}", get_reply, allow_head=False)
    app.router.add_post("/api/chat/{reply}/stop", stop_reply)
    app.router.add_post("/api/chat/{reply}/share", share_reply)
    app.router.add_post("/api/chat/{reply}/unshare", unshare_reply)
    app.router.add_get("/api/shared/{token}", get_shared, allow_head=False)
    app.router.add_get("/api/shared/{token}/question", get_question, allow_head=False)
