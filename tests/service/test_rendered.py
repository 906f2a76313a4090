"""A reply as HTML, over HTTP (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio

from chatsvc.settings import Settings

from ..markdown_harm import read
from .running import HARD, Inside, Scripted, eventually, inside

HTML = "Accept: text/html"


async def test_a_reply_is_rendered_as_far_as_it_is_out() -> None:
    gate = asyncio.Event()
    async with inside(
        Settings(pace=0), backend=Scripted("# One\n\ntwo", gate, " <b>\n")
    ) as chat:
        reply = await chat.start("hi")
        held = await chat.replies.open(reply)
        await eventually(lambda: held.released_now() == 9)  # the last may grow yet
        growing = await chat.raw(f"GET /api/chat/{reply}", HTML)
        assert growing.body.endswith(
            b'<h1 dir="auto" data-end="7">One</h1>\n'
            b'<p dir="auto" data-end="9">tw</p>\n</body></html>\n'
        )
        assert growing.reply == reply
        policy = growing.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        gate.set()
        await eventually(lambda: held.end)
        whole = await chat.raw(f"GET /api/chat/{reply}", HTML)
        assert b'data-end="15">two &lt;b&gt;</p>' in whole.body


async def test_only_where_a_reply_is_read_there_is_html(chat: Inside) -> None:
    reply = await chat.start(HARD)
    await chat.read(reply)
    browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
    page = await chat.raw(f"GET /api/chat/{reply}", browser)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    body = page.body.decode().partition("<body>\n")[2].partition("</body>")[0]
    assert read(HARD, body).text.split() == HARD.split()
    unknown = await chat.raw(f"GET /api/chat/{reply[::-1]}", browser)
    assert unknown.status == 404
    for line in ("GET /api/chat?message=x", "POST /api/chat"):
        assert (await chat.raw(line, HTML, body=b'{"message": "x"}')).status == 406
