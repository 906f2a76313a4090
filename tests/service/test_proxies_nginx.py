"""Clients and users behind a real nginx, as the README sets it up."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import require
from tests.loopback import free_port
from tests.nginx_server import NginxServer
from tests.readme import blocks

from .running import child

XFF = "X-Forwarded-For"
USER = "X-Forwarded-User"
PROXY, ANN, BOB = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""Addresses of the loopback: nginx connects to the service from the first."""


@contextmanager
def nginx(folder: Path, service: int, locations: str = "") -> Iterator[str]:
    """The README's nginx before one service, perhaps with other locations; its URL."""
    require("nginx")
    [http] = blocks("nginx", "upstream chatsvc")
    port = free_port()
    for shown, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("10.0.0.1:3000", f"127.0.0.1:{service}"),
        ("    server 10.0.0.2:3000 max_fails=0;\n", ""),
    ):
        assert shown in http
        http = http.replace(shown, here)
    if locations:
        head, location, rest = http.partition("    location / {\n")
        lines = rest.partition("    }\n")[0]
        comment = "# and the lines of `location /` above\n"
        assert location and comment in locations
        http = f"{head}{locations.replace(comment, lines)}}}\n"
    server = NginxServer(folder, port, http)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@asynccontextmanager
async def at(address: str, **cookies: str) -> AsyncIterator[aiohttp.ClientSession]:
    """The session of a client at an address of the loopback."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=jar, cookies=cookies
    ) as session:
        yield session


async def start(session: aiohttp.ClientSession, url: str, **headers: str) -> Any:
    """Begin a reply that does not end; its id, or the status of the refusal."""
    async with session.post(
        f"{url}api/chat?wait=0",
        json={"message": "a" * 1000},
        headers={"Accept": "application/json", **headers},
    ) as answer:
        if answer.status != 200:
            return answer.status
        return (await answer.json())["reply"]


async def test_addresses_by_the_readmes_nginx(tmp_path: Path) -> None:
    [example] = blocks("sh", "--allow-host chat.example --trusted-proxy")
    words = shlex.split(example.strip().splitlines()[-1])
    trusted = words.index("--trusted-proxy")
    flags = (words[trusted], words[trusted + 1].replace("10.0.0.9", PROXY))
    more = ("--max-per-client", "1", "--drain", "0", "--log-format", "json")
    async with child(*flags, *more) as chat, at(ANN) as ann, at(BOB) as bob:
        with nginx(tmp_path, chat.port) as url:
            assert isinstance(await start(ann, url), str)
            assert await start(ann, url) == 429
            # Whatever a client says of itself, nginx adds what it is.
            assert await start(ann, url, **{XFF: "192.0.2.1"}) == 429
            assert await start(ann, url, Forwarded="for=192.0.2.1") == 429
            assert isinstance(await start(bob, url), str)
            async with bob.ws_connect(f"{url}ws/chat") as ws:
                await ws.send_json({"message": "b"})
                assert (await ws.receive(10)).data == 4429
        # Not by the proxy: believed by nobody.
        assert await start(ann, f"{chat.url}/", **{XFF: "192.0.2.1"}) == 429
        await chat.terminate()
        _, errors = await chat.ended()
    lines = [json.loads(line) for line in errors.splitlines()]
    clients = [line["client"] for line in lines if line["message"] == "request"]
    assert clients == [ANN, ANN, ANN, ANN, BOB, BOB, ANN]
    [warning] = [line for line in lines if "not trusted" in line["message"]]
    assert f"--trusted-proxy {ANN} " in warning["message"]


SESSIONS = {"1": "ann", "2": "bob@example.org"}


async def check(request: web.Request) -> web.Response:
    """Answer as oauth2-proxy does: who it is by the session, or 401."""
    assert request.headers.get("Content-Length", "0") == "0"
    user = SESSIONS.get(request.cookies.get("session", ""))
    if user is None:
        return web.Response(status=401)
    return web.Response(status=202, headers={"X-Auth-Request-User": user})


async def sign_in(request: web.Request) -> web.Response:
    """Answer with the page on which to sign in."""
    return web.Response(status=403, text="Sign in!")


@asynccontextmanager
async def oauth2_proxy() -> AsyncIterator[int]:
    """A scripted oauth2-proxy; its port."""
    app = web.Application()
    app.router.add_get("/oauth2/auth", check)
    app.router.add_route("*", "/oauth2/sign_in", sign_in)
    server = TestServer(app)
    await server.start_server()
    try:
        assert server.port is not None
        yield server.port
    finally:
        await server.close()


async def test_users_by_the_readmes_nginx(tmp_path: Path) -> None:
    [locations] = blocks("nginx", "auth_request")
    [example] = blocks("sh", "--user-header")
    flags = (*shlex.split(example)[1:], "--pace", "0", "--drain", "0")
    assert "127.0.0.1:4180" in locations
    async with (
        oauth2_proxy() as oauth,
        child(*flags) as chat,
        at(ANN, session="1") as ann,
        at(ANN, session="2") as bob,
        at(ANN) as nobody,
    ):
        locations = locations.replace("127.0.0.1:4180", f"127.0.0.1:{oauth}")
        with nginx(tmp_path, chat.port, locations) as url:

            async def status(who: aiohttp.ClientSession, path: str, **more: str) -> int:
                async with who.get(f"{url}{path}", headers=more) as answer:
                    return answer.status

            reply = await start(ann, url)
            path = f"api/chat/{reply}"
            assert await status(ann, path) == 200
            assert await status(bob, path) == 404
            # nginx replaces what a client says.
            assert await status(bob, path, **{USER: "ann"}) == 404
            async with nobody.get(url, headers={USER: "ann"}) as answer:
                assert (answer.status, await answer.text()) == (403, "Sign in!")
            for who, first in ((ann, '"data":"a"'), (bob, "/problems/reply-not-found")):
                async with who.ws_connect(
                    f"{url}ws/chat", protocols=("chatsvc.v1",), headers={USER: "ann"}
                ) as ws:
                    await ws.send_json({"read": reply, "after": 0})
                    assert first in (await ws.receive_str())
        # Past nginx, from an address that is none of the proxies'.
        for header in ({USER: "ann"}, {}):
            async with nobody.get(f"{chat.url}/{path}", headers=header) as answer:
                assert answer.status == 401
