"""Behind proxies, Auto ends with the exact text, and says what it did."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.conftest import THOROUGH, require
from tests.loopback import free_port
from tests.nginx_server import NginxServer

from . import driving, proxies
from .conftest import OpenPage, end_service, start_service
from .driving import TEXT
from .proxies import Pipe, Proxy

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

Choose = Callable[[bytes], Pipe]
HERE = Path(__file__).parent


def asks_chat(head: bytes) -> bool:
    """Return whether a request starts or reads a reply."""
    return b" /api/chat" in head.split(b"\r\n")[0] and b"/stop " not in head


def is_stream(head: bytes) -> bool:
    """Return whether a request asks for an event stream."""
    return asks_chat(head) and b"text/event-stream" in head.lower()


def is_upgrade(head: bytes) -> bool:
    """Return whether a request asks for a WebSocket."""
    return b"\r\nupgrade: websocket" in head.lower()


def buffers_all(head: bytes) -> Pipe:
    """Hold answers back until they are complete, and refuse upgrades."""
    if is_upgrade(head):
        return proxies.refuse
    return proxies.hold_back if asks_chat(head) else proxies.pass_on


def buffers_bodies(head: bytes) -> Pipe:
    """Pass the heads of streams on at once, their bodies when they are complete."""
    return proxies.head_only() if is_stream(head) else proxies.pass_on


def hangs_upgrades(head: bytes) -> Pipe:
    """Swallow streams and upgrades."""
    if is_upgrade(head) or is_stream(head):
        return proxies.swallow
    return proxies.pass_on


def cuts_streams(head: bytes) -> Pipe:
    """Every stream is broken off before its first character."""
    return proxies.cut(25) if is_stream(head) else proxies.pass_on


LONGEST = {"sse": 1300, "text": 60, "poll": 700, "websocket": 1300}
"""More bytes than a short reply's body has over each transport, chunk headers included."""

SCRIPTED: list[tuple[Choose, list[str]]] = [
    (buffers_all, ["no answer began"]),
    (buffers_bodies, ["nothing came within a second"]),
    (hangs_upgrades, ["no answer began"]),
    (cuts_streams, ["kept breaking"]),
]


async def test_auto_behind_scripted_proxies(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    """All at once: most of it is waiting for Auto's limits."""

    async def behind(choose: Choose, said: list[str]) -> None:
        # Long enough that it still runs when the limits are over.
        message = TEXT * 18
        async with Proxy(service, choose) as proxy:
            page = await open_page(chromium, proxy.url)
            await driving.send(page, message)
            await driving.state(page, "done", timeout=25_000)
            assert await driving.text(page) == message, choose
            notes = (await driving.notes(page)).split("Switched")[1:]
            assert len(notes) == len(said), (choose, notes)
            for note, reason in zip(notes, said, strict=True):
                assert reason in note, choose
            # What was learnt holds for the next message.
            seen = len(proxy.heads)
            await driving.send(page, "again")
            await driving.state(page, "done")
            assert not any(is_stream(head) for head in proxy.heads[seen:]), choose
            assert await driving.notes(page) == ""

    await asyncio.gather(*(behind(*case) for case in SCRIPTED))


async def test_a_stalled_stream_is_left(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    def choose(head: bytes) -> Pipe:
        return proxies.stall(800) if is_stream(head) else proxies.pass_on

    async with Proxy(service, choose) as proxy:
        page = await open_page(chromium, proxy.url)
        await page.clock.install()
        await page.reload()
        await page.wait_for_selector("html[data-ready]")
        # So long that what is let through is never all of it.
        await driving.send(page, TEXT * 4)
        await driving.grown(page, 5)
        while not await driving.notes(page):
            await page.clock.fast_forward(38_000)
        await driving.state(page, "done")
        assert await driving.text(page) == TEXT * 4
        assert "fell silent" in await driving.notes(page)


async def test_a_stop_behind_a_proxy_that_strips_headers(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    async with Proxy(service, lambda head: proxies.strip) as proxy:
        page = await open_page(chromium, proxy.url)
        message = TEXT * 18
        await driving.send(page, message)
        await driving.grown(page, 5)
        await page.click("#stop")
        await driving.state(page, "stopped")
        stopped = await driving.text(page)
        assert message.startswith(stopped) and stopped != message


NGINX = """
{http}
server {{
  listen 127.0.0.1:{port};
  location / {{ proxy_pass http://127.0.0.1:{service}; proxy_set_header Host $http_host; {location} }}
}}
"""

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
listen chat
  bind 127.0.0.1:{port}
  server chatsvc 127.0.0.1:{service}
"""


async def _serving(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest_asyncio.fixture(
    loop_scope="session", params=["nginx", "nginx-ignoring", "haproxy"]
)
async def real_proxy(
    request: pytest.FixtureRequest, service: int, tmp_path: Path
) -> AsyncIterator[tuple[str, str]]:
    """A real proxy before the service: its name and its address."""
    name, port = request.param, free_port()
    if name == "haproxy":
        require("haproxy")
        config = tmp_path / "config"
        config.write_text(HAPROXY.format(port=port, service=service))
        process = await asyncio.create_subprocess_exec(
            "haproxy", "-f", str(config), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _serving(port)
            yield name, f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            await process.wait()
        return
    require("nginx")
    ignoring = name == "nginx-ignoring"
    http = NGINX.format(
        port=port,
        service=service,
        http="gzip on; gzip_min_length 1; gzip_types *;" if ignoring else "",
        location="proxy_ignore_headers X-Accel-Buffering;" if ignoring else "",
    )
    server = NginxServer(tmp_path, port, http)
    server.start()
    try:
        yield name, server.url
    finally:
        server.stop()


async def test_auto_behind_a_real_proxy(
    chromium: Browser, open_page: OpenPage, real_proxy: tuple[str, str]
) -> None:
    name, url = real_proxy
    # The proxy that holds back must do so for longer than Auto waits.
    message = TEXT * 13 if name == "nginx-ignoring" else TEXT
    page = await open_page(chromium, url)
    await driving.send(page, message)
    await driving.state(page, "done", timeout=20_000)
    assert await driving.text(page) == message
    notes = await driving.notes(page)
    # Only the proxy that is configured to buffer does so; there an upgrade fails as well.
    assert ("to long poll" in notes) == (name == "nginx-ignoring"), notes


@pytest.fixture(scope="module")
def answering_service() -> Iterator[int]:
    """The port of a service whose replies have parts beside their text."""
    process, port = start_service(
        "--limits", "off", "--backend", "tests.page.answering:answer"
    )
    yield port
    end_service(process)


async def test_cut_at_every_byte_of_a_short_reply(answering_service: int) -> None:
    """The page's own transports under node: whatever byte is the last, the text and the parts are exact."""
    require("node")
    flags = ["--experimental-websocket"] if await _old_node() else []

    async def cut_everywhere(transport: str) -> None:
        left = -1

        def choose(head: bytes) -> Pipe:
            nonlocal left
            if left < 0 or not (asks_chat(head) or is_upgrade(head)):
                return proxies.pass_on
            cut, left = left, -1
            return proxies.cut(cut)

        script = str(HERE / "unit" / "cut.mjs")
        async with Proxy(answering_service, choose) as proxy:
            process = await asyncio.create_subprocess_exec(
                "node",
                *flags,
                script,
                proxy.url,
                transport,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert process.stdin and process.stdout
            most = 0
            for most in range(0, 3000, 1 if THOROUGH else 13):
                left = most
                process.stdin.write(b"next\n")
                answer = (await process.stdout.readline()).decode()
                assert answer.startswith("exact"), (transport, most, answer)
                if answer == "exact 1\n" and most > LONGEST[transport]:
                    break  # it is all there: nothing is cut any more
            process.stdin.close()
            await process.wait()

    await asyncio.gather(*map(cut_everywhere, LONGEST))


async def _old_node() -> bool:
    process = await asyncio.create_subprocess_exec(
        "node", "--version", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return int(out.decode().lstrip("v").split(".")[0]) < 22
