"""Pages of another origin that use the service by tickets, in real browsers."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from chatsvc.app import create_app
from chatsvc.settings import Settings
from chatsvc.web import tickets
from tests.loopback import free_port

from . import proxies
from .browsers import Everywhere, NewProfile
from .conftest import PACE_S
from .driving import TEXT
from .proxies import Pipe, Proxy

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

KEY = "alice-0123456789abcdef"
MESSAGE = TEXT * 4

USE_S = 8
"""The seconds in which a ticket must be used here; a browser begins to read it at once."""

READ = """([url, ticket, message]) => {
  window.text = '';
  const query = new URLSearchParams({message, ticket});
  const source = new EventSource(`${url}api/chat?${query}`);
  source.onmessage = ({data}) => {
    if (data === '[DONE]') source.close();
    else window.text += data;
    window.over = data === '[DONE]';
  };
}"""
"""A script that reads a reply as `EventSource` does by itself: it reconnects with the same URL."""

TALK = """([url, ticket, message]) => {
  window.text = '';
  window.over = false;
  const socket = new WebSocket(`${url.replace('http', 'ws')}ws/chat?ticket=${ticket}`);
  socket.onopen = () => socket.send(JSON.stringify({message}));
  socket.onmessage = ({data}) => {
    if (data === '[DONE]') window.over = true;
    else window.text += data;
  };
}"""
"""A script that has a reply over a WebSocket."""


async def serve(app: web.Application) -> tuple[web.AppRunner, int]:
    """Serve an application on a free port of the loopback."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, port


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[str]:
    """The origin of another site."""

    async def page(request: web.Request) -> web.Response:
        text = "<!doctype html><html data-ready><title>elsewhere</title>"
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner, port = await serve(app)
    yield f"http://localhost:{port}"
    await runner.cleanup()


async def new_ticket(port: int) -> str:
    """Return a ticket, as the server of another site gets one for its page."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{port}/api/ticket", headers=headers
        ) as response,
    ):
        ticket: str = (await response.json())["ticket"]
        return ticket


async def test_a_page_elsewhere_reads_a_reply_to_its_end(
    everywhere: Everywhere, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the connection breaks after the time in which the ticket had to be used."""
    monkeypatch.setattr(tickets, "TICKET_S", USE_S)
    settings = Settings(pace=PACE_S, api_keys=KEY, allow_origin=(elsewhere,))
    runner, port = await serve(create_app(settings))

    async def scenario(new_profile: NewProfile) -> None:
        expired = asyncio.Event()
        pipes: list[Pipe] = [proxies.cut(400, expired), proxies.pass_on]

        def choose(head: bytes) -> Pipe:
            return pipes.pop(0) if len(pipes) > 1 else pipes[0]

        page = await (await new_profile()).open(f"{elsewhere}/")
        async with Proxy(port, choose) as proxy:
            ticket = await new_ticket(port)
            await page.evaluate(READ, [proxy.url, ticket, MESSAGE])
            await page.wait_for_function("window.text.length > 0")
            assert not await page.evaluate("window.over")
            await asyncio.sleep(USE_S + 1)
            expired.set()
            await page.wait_for_function("window.over")
            assert await page.evaluate("window.text") == MESSAGE
            assert len(proxy.heads) == 2
        ticket = await new_ticket(port)
        await page.evaluate(TALK, [f"http://127.0.0.1:{port}/", ticket, MESSAGE])
        await page.wait_for_function("window.over")
        assert await page.evaluate("window.text") == MESSAGE

    try:
        await everywhere(scenario)
    finally:
        await runner.cleanup()
