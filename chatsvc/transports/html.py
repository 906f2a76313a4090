"""What is out of a reply as a page of HTML."""

from __future__ import annotations

from aiohttp import web
from markupsafe import Markup

from chatsvc.rendering.renderer import Renderer
from chatsvc.rendering.reply_ids import with_reply_ids
from chatsvc.replies import Reply
from chatsvc.transports.response import REPLY_HEADERS
from chatsvc.transports.templates import TEMPLATES

HTML_HEADERS = {
    **REPLY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""The headers of a reply as HTML: opened by itself it runs and loads nothing, either."""


async def html_response(
    reply: Reply, shown_id: str, renderer: Renderer, client: str
) -> web.Response:
    """Return what is out of a reply as a page of HTML, rendered in the turn of `client`.

    `shown_id` is what the headers and the ids of footnotes call the reply: its id, or the token of a
    share link.
    Raises what `Renderer.render` raises.
    """
    text = reply.log.text(0, reply.released_now())
    body = with_reply_ids(await renderer.render(text, client), shown_id)
    page = TEMPLATES.get_template("reply.html").render(body=Markup(body))
    return web.Response(
        text=page,
        content_type="text/html",
        headers={**HTML_HEADERS, "X-Reply-Id": shown_id},
    )
