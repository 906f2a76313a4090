"""chatsvc below a path that a proxy takes away, by the README's lines for nginx and for Caddy."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from chatsvc.deploy.kinds import deploy
from tests.caddy_server import CaddyServer
from tests.conftest import require
from tests.loopback import free_port
from tests.nginx_server import NginxServer
from tests.readme import blocks

from .running import child

pytestmark = pytest.mark.any_store

PREFIX = "/chat"
KEY = "a-key-of-nobody-else"


def readme_nginx(port: int, node: str) -> str:
    """The README's nginx with the location for a path in place of the root's."""
    [http] = blocks("nginx", "upstream chatsvc")
    [below] = blocks("nginx", "location /chat/")
    head, location, rest = http.partition("    location / {\n")
    others = rest.partition("    }\n")[0]
    for name in ("proxy_pass", "proxy_set_header X-Forwarded-Prefix"):
        others, count = re.subn(rf"^ *{name} .*\n", "", others, flags=re.MULTILINE)
        assert count == 1
    comment = "# and the other lines of `location /` above\n"
    assert location and comment in below
    http = f"{head}{below.replace(comment, others)}}}\n"
    for shown, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("10.0.0.1:3000", node),
        ("    server 10.0.0.2:3000 max_fails=0;\n", ""),
    ):
        assert shown in http
        http = http.replace(shown, here)
    return http


def readme_caddy(port: int, node: str) -> str:
    """The README's Caddyfile."""
    [text] = blocks("caddy", "handle_path /chat/*")
    text = "".join(line.removeprefix("  ") for line in text.splitlines(keepends=True))
    for shown, here in (
        ("example.com {\n", f"http://:{port} {{\n\tbind 127.0.0.1\n"),
        ("10.0.0.1:3000 10.0.0.2:3000", node),
    ):
        assert shown in text
        text = text.replace(shown, here)
    return text


def kit(kind: str) -> Callable[[int, str], str]:
    """The file of `chatsvc deploy`."""

    def file(port: int, node: str) -> str:
        listen = f"127.0.0.1:{port}"
        return deploy(kind, {"listen": listen, "node": (node,), "prefix": PREFIX})

    return file


Proxy = Callable[[Path, int, str], NginxServer | CaddyServer]

WAYS: dict[str, tuple[Proxy, Callable[[int, str], str]]] = {
    "the README's nginx": (NginxServer, readme_nginx),
    "the README's Caddy": (CaddyServer, readme_caddy),
    "the kit's nginx": (NginxServer, kit("nginx")),
    "the kit's Caddy": (CaddyServer, kit("caddy")),
}


@contextmanager
def behind(way: str, folder: Path, service: int) -> Iterator[str]:
    """The URL of a service behind a proxy."""
    kind, write = WAYS[way]
    require("nginx" if kind is NginxServer else "caddy")
    port = free_port()
    proxy = kind(folder, port, write(port, f"127.0.0.1:{service}"))
    proxy.start()
    try:
        yield f"http://127.0.0.1:{port}{PREFIX}/"
    finally:
        proxy.stop()


@pytest.mark.parametrize("way", WAYS)
async def test_all_of_it_works_below_a_path(way: str, tmp_path: Path) -> None:
    flags = ("--trusted-proxy", "127.0.0.1", "--pace", "0", "--drain", "0")
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        child(*flags, CHATSVC_API_KEYS=KEY) as chat,
        aiohttp.ClientSession(cookie_jar=jar) as browser,
        aiohttp.ClientSession() as stranger,
    ):
        with behind(way, tmp_path, chat.port) as url:
            # Whoever leaves out the last slash is led to the page, and there to the form.
            async with browser.get(url.rstrip("/")) as answer:
                assert str(answer.url) == f"{url}login"
            async with browser.post(f"{url}login", data={"key": KEY}) as answer:
                assert (answer.status, str(answer.url)) == (200, url)
                page = await answer.text()
            [cookie] = jar
            assert (cookie.key, cookie["path"]) == ("chatsvc", f"{PREFIX}/")
            files = set(re.findall(r'(?:src|href)="([^"#]+\.(?:js|css|svg))"', page))
            assert len(files) > 2
            for file in files:
                async with stranger.get(urljoin(url, file)) as answer:
                    assert answer.status == 200, file
            # Events, and the same again by a WebSocket.
            asked = {"message": "你好"}
            async with browser.post(f"{url}api/chat", json=asked) as answer:
                reply = answer.headers["X-Reply-Id"]
                assert (await answer.text()).endswith("data: [DONE]\n\n")
            protocols = ("chatsvc.v1",)
            async with browser.ws_connect(f"{url}ws/chat", protocols=protocols) as ws:
                await ws.send_json({"read": reply, "after": 0})
                assert (await ws.receive_json(timeout=10))["data"] == "你"
            # A share link leads there from the root of the host.
            async with browser.post(f"{url}api/chat/{reply}/share") as answer:
                path = (await answer.json())["path"]
            assert path.startswith(f"{PREFIX}/api/shared/")
            text = {"Accept": "text/plain"}
            async with stranger.get(urljoin(url, path), headers=text) as answer:
                assert await answer.text() == "你好"
            async with browser.post(f"{url}logout") as answer:
                assert str(answer.url) == f"{url}login"
            assert not list(jar)
            ask = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chatsvc", "ask", "--url", url, "hi"),
                env={"CHATSVC_API_KEY": KEY},
                stdout=asyncio.subprocess.PIPE,
            )
            assert (await ask.communicate())[0].strip() == b"hi"
