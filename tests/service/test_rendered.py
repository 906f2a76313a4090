"""A reply as HTML, over HTTP (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chatsvc.rendering.renderer import Renderer
from chatsvc.settings import Settings
from chatsvc.web.chat import RENDERER

from ..markdown_harm import read
from .running import HARD, Inside, Scripted, eventually, inside

pytestmark = pytest.mark.any_store

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
    asked = await chat.raw("POST /api/chat", HTML, body=b'{"message": "x"}')
    assert asked.status == 406
    # As a link of a page would ask.
    assert (await chat.raw("GET /api/chat?message=x", HTML)).status == 403


async def test_two_replies_on_one_page_have_no_id_in_common(chat: Inside) -> None:
    text = "a[^1]\n\n[^1]: b"
    ids: list[str] = []
    for _ in range(2):
        reply = await chat.start(text)
        await chat.read(reply)
        made = await chat.raw(f"POST /api/chat/{reply}/share")
        token = json.loads(made.body)["token"]
        for name, path in ((reply, f"chat/{reply}"), (token, f"shared/{token}")):
            page = (await chat.raw(f"GET /api/{path}", HTML)).body.decode()
            assert f'<a href="#fn-{name}-1" id="fnref-{name}-1" ' in page
            assert f'<li id="fn-{name}-1"' in page
            assert name == reply or reply not in page
            ids += re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) == 8


async def test_formulas_are_in_the_page_and_its_policy_stays(chat: Inside) -> None:
    reply = await chat.start("$x^2$ and $\\href{javascript:a}{x}$")
    await chat.read(reply)
    page = await chat.raw(f"GET /api/chat/{reply}", HTML)
    assert b"<msup><mi>x</mi><mn>2</mn></msup>" in page.body
    assert b"<code>$\\href{javascript:a}{x}$</code>" in page.body
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none';")


FAKE = Path(__file__).parent.parent / "rendering" / "fake_child.py"
"""A child that says what it is asked, and takes 50 ms for a text that begins with `slow`."""


class Watched(Renderer):
    """A renderer with a fake for its only child, which writes what it is asked into `log`."""

    def __init__(self, log: Path, max_waiting: int = 64) -> None:
        command = (sys.executable, str(FAKE), str(log))
        super().__init__(processes=1, max_waiting=max_waiting, command=command)
        self._log = log

    def asked(self) -> list[str]:
        """Return the texts that were rendered, in their order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.partition(" ")[2] for line in lines]


@asynccontextmanager
async def watched(
    folder: Path,
    max_waiting: int = 64,
    settings: Settings = Settings(pace=0),  # noqa: B008
    **options: Any,
) -> AsyncIterator[tuple[Inside, Watched]]:
    """A service whose renderer is watched, and the renderer."""
    renderer = Watched(folder / "log", max_waiting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chatsvc.web.chat.Renderer", lambda: renderer)
        async with inside(settings, **options) as chat:
            yield chat, renderer


async def user(request: web.Request) -> str | None:
    """Return the user that a request says it is from."""
    return request.headers.get("User")


async def test_an_innocent_reply_is_rendered_among_twenty_of_another_user(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path, authorize=user) as (chat, renderer):
        poison = [await chat.start(f"slow {n}", User="mallory") for n in range(20)]
        innocent = await chat.start("# hello", User="alice")
        for reply, name in ((poison[-1], "mallory"), (innocent, "alice")):
            await chat.raw(f"GET /api/chat/{reply}", f"User: {name}")
        attack = [
            asyncio.create_task(chat.raw(f"GET /api/chat/{p}", HTML, "User: mallory"))
            for p in poison
        ]
        await eventually(lambda: len(renderer.asked()) == 2)
        page = await chat.raw(f"GET /api/chat/{innocent}", HTML, "User: alice")
        # One of the other user's was being rendered, and the next one's turn may have come.
        assert renderer.asked().index("# hello") <= 4
        assert b"<p># hello</p>" in page.body
        assert [answer.status for answer in await asyncio.gather(*attack)] == [200] * 20


async def test_when_too_many_wait_the_service_is_full(tmp_path: Path) -> None:
    async with watched(tmp_path, max_waiting=1) as (chat, _):
        replies = [await chat.start(f"slow {number}") for number in range(3)]
        for reply in replies:
            await chat.read(reply)
        answers = await asyncio.gather(
            *(chat.raw(f"GET /api/chat/{reply}", HTML) for reply in replies)
        )
        assert sorted(answer.status for answer in answers) == [200, 200, 503]
        [full] = [answer for answer in answers if answer.status == 503]
        assert full.headers["Retry-After"] == "1"
        again = await chat.raw(f"GET /api/chat/{replies[0]}", "Accept: text/html;q=1")
        assert again.status == 200


async def test_a_client_that_leaves_is_not_rendered_for(tmp_path: Path) -> None:
    async with watched(tmp_path) as (chat, renderer):
        replies = [await chat.start(f"slow {number}") for number in range(5)]
        for reply in replies:
            await chat.read(reply)
        readers = [await chat.connect(f"GET /api/chat/{r}", HTML) for r in replies[:4]]
        await eventually(renderer.asked)
        for _, writer in readers:
            writer.transport.abort()
        await chat.raw(f"GET /api/chat/{replies[4]}", HTML)
        # Those that had not begun when their clients left never do.
        assert len(renderer.asked()) <= 3
        assert renderer.asked()[-1] == "slow 4"


async def test_children_end_with_the_application() -> None:
    async with inside(Settings(pace=0)) as chat:
        reply = await chat.start("# hi")
        await chat.read(reply)
        assert b"<h1" in (await chat.raw(f"GET /api/chat/{reply}", HTML)).body
        [pid] = chat.app[RENDERER].pids()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_mounted_application_renders() -> None:
    async with inside(Settings(pace=0), app=web.Application()) as chat:
        answer = await chat.raw(
            "POST /chat/api/chat",
            "Accept: application/json",
            body=b'{"message": "# a"}',
        )
        page = await chat.raw(f"GET /chat/api/chat/{answer.reply}", HTML)
        assert json.loads(answer.body)["text"] == "# a"
        assert b"<h1" in page.body
        assert len(chat.app[RENDERER].pids()) == 1
