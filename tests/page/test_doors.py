"""What pages of other sites can do to the service, in real browsers (PROTOCOL.md section 2).

The names of hosts lead where a test wants (`names.Names`): one that first leads to an attacker and
then to the service, one by which people reach the service, and one of a site that is neither.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import trustme
from playwright.async_api import async_playwright

from tests.conftest import require
from tests.loopback import free_port, listening
from tests.nginx_server import NginxServer

from . import driving, proxies
from .browsers import CHROMIUM_FLAGS, Everywhere, NewProfile, Page, PlaywrightProfile
from .conftest import end_service, run_in_all, start_service
from .driving import LAST, TEXT
from .names import Names
from .proxies import Proxy
from .webdriver import WebDriverProfile, start_webkit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

ATTACKS = (Path(__file__).parent / "attacks.js").read_text(encoding="utf-8")

ATTACKER = b"<!doctype html><html data-ready><title>elsewhere</title><body>"
"""The page of an attacker."""

ATTACK_TIMEOUT_S = 90
"""The seconds that all ways of an attack may take on a busy machine; each has a limit of its own."""

TRANSPORTS = ["auto", "sse", "eventsource", "websocket", "text", "poll"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def names() -> AsyncIterator[Names]:
    async with Names() as names:
        yield names


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def led(
    names: Names, request: pytest.FixtureRequest
) -> AsyncIterator[Everywhere]:
    """Run a scenario in all browsers, for which names lead where `names` says."""
    require("chromium", "firefox-esr")
    display: str = request.getfixturevalue("display")
    trusting = {"ignore_https_errors": True}
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        chromium = await playwright.chromium.launch(
            channel="chromium",
            args=[
                *CHROMIUM_FLAGS,
                "--disable-features=HttpsUpgrades,LocalNetworkAccessChecks",
            ],
            proxy={"server": names.url},
            executable_path="/usr/bin/chromium",
        )
        stack.push_async_callback(chromium.close)
        firefox = await playwright.firefox.launch(
            channel="moz-firefox",
            executable_path="/usr/bin/firefox-esr",
            firefox_user_prefs={
                "network.proxy.type": 1,
                "network.proxy.socks": "127.0.0.1",
                "network.proxy.socks_port": names.port,
                "network.proxy.socks_remote_dns": True,
            },
        )
        stack.push_async_callback(firefox.close)
        webkit = partial(start_webkit, display, f"--proxy={names.url}")
        yield run_in_all(
            [
                partial(PlaywrightProfile.start, chromium, **trusting),
                partial(PlaywrightProfile.start, firefox, **trusting),
                partial(WebDriverProfile.start, webkit),
            ]
        )


async def attack(page: Page, kind: str, base: str) -> dict[str, str]:
    """Attack the service at `base` in one of the kinds of `attacks.js`, and return what the page sees.

    A script of WebDriver may take 30 s, and one of Playwright is waited for without end: so the page
    keeps what it has seen, and is asked for it.
    """
    await page.evaluate(
        "([kind, base]) => { delete window.seen;"
        f" ({ATTACKS})[kind](base).then((seen) => {{ window.seen = seen; }}); }}",
        [kind, base],
    )
    await page.wait_for_function(
        "() => window.seen !== undefined", timeout=ATTACK_TIMEOUT_S * 1000
    )
    seen: dict[str, str] = await page.evaluate("window.seen")
    return seen


@asynccontextmanager
async def attacker(host: str = "127.0.0.2", port: int = 0) -> AsyncIterator[int]:
    """Serve the attacker's page at an address of its own; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A browser may open a connection in vain, and keep it: it ends with the server.
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
        # The next request has to look the name up again.
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(ATTACKER))
        writer.write(ATTACKER)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with listening(serve, host, port) as listened:
        yield listened


async def started(port: int) -> float:
    """Return how many replies the service has started."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        [count] = re.findall(
            r"^chatsvc_replies_started_total (\S+)$", await answer.text(), re.MULTILINE
        )
        return float(count)


@pytest.fixture(scope="module")
def known() -> Iterator[int]:
    """The port of a service that answers to chat.example."""
    process, port = start_service("--pace", "0.001", "--allow-host", "chat.example")
    yield port
    end_service(process)


@pytest.fixture(scope="module")
def careless() -> Iterator[int]:
    """The port of a service that answers to every name."""
    process, port = start_service("--pace", "0", "--allow-host", "*")
    yield port
    end_service(process)


# ---------------------------------------------------------------------- rebinding


async def rebind(
    new_profile: NewProfile, names: Names, name: str, port: int
) -> dict[str, str]:
    """Open the attacker's page at a name and the service's port, lead the name to the service, and attack."""
    place = name, port
    async with attacker(port=port):
        names.places[place] = "127.0.0.2", port
        page = await (await new_profile()).open(f"http://{name}:{port}/")
        names.places[place] = "127.0.0.1", port
        return await attack(page, "asOwn", f"http://{name}:{port}/")


async def test_a_page_that_rebinds_its_name_reads_and_starts_nothing(
    led: Everywhere, names: Names, known: int
) -> None:
    before = await started(known)
    number = iter(range(9))

    async def scenario(new_profile: NewProfile) -> None:
        name = f"rebound-{next(number)}.example"
        seen = await rebind(new_profile, names, name, known)
        sockets = {seen.pop("event-source"), seen.pop("socket")}
        assert sockets == {"error"}
        for way, answer in seen.items():
            assert answer.startswith("421 "), (way, answer)

    await one_by_one(led, scenario)
    assert await started(known) == before


async def test_a_page_that_rebinds_its_name_reads_all_where_every_host_is_answered(
    led: Everywhere, names: Names, careless: int
) -> None:
    """That the attack is one: it takes `--allow-host '*'` to let it through."""
    number = iter(range(9))

    async def scenario(new_profile: NewProfile) -> None:
        name = f"let-in-{next(number)}.example"
        seen = await rebind(new_profile, names, name, careless)
        assert seen.pop("event-source") == "event e"
        assert seen.pop("socket") == "event s"
        for way, answer in seen.items():
            assert answer.startswith("200 "), (way, answer)

    await one_by_one(led, scenario)


async def one_by_one(led: Everywhere, scenario: Callable[[NewProfile], Any]) -> None:
    """Run a scenario in all browsers, in one after the other: each has the attacker's port to itself."""
    turn = asyncio.Lock()

    async def alone(new_profile: NewProfile) -> None:
        async with turn:
            await scenario(new_profile)

    await led(alone)


# ---------------------------------------------------------------------- from elsewhere

REACHING = {"image", "script", "style", "frame", "link", "form", "opaque", "cors"} | {
    *("event-source", "sandboxed-source", "audio", "object"),
}
"""The ways by which a request with the way's name reaches the service from each browser."""


def reached(proxy: Proxy) -> set[str]:
    """Return the ways by which requests have come to the proxy."""
    first = b"\n".join(head.split(b"\r\n")[0] for head in proxy.heads).decode()
    return set(re.findall(r"^GET /api/chat\?message=(\S+) ", first, re.MULTILINE))


@pytest.mark.parametrize("host", ["chat.example", "127.0.0.1", "localhost"])
async def test_a_page_of_another_site_starts_nothing_and_reads_nothing(
    led: Everywhere, names: Names, known: int, host: str
) -> None:
    """By its name over plain http browsers don't say where a request is from; on the loopback they do."""
    before = await started(known)

    async def scenario(new_profile: NewProfile) -> None:
        where = "http://elsewhere.example:{port}/"
        async with (
            Proxy(known, lambda head: proxies.pass_on) as proxy,
            attacker() as port,
        ):
            names.places["elsewhere.example", port] = "127.0.0.2", port
            page = await (await new_profile()).open(where.format(port=port))
            seen = await attack(page, "fromElsewhere", f"http://{host}:{proxy.port}/")
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while not reached(proxy) >= REACHING:
                        await asyncio.sleep(0.05)
            assert reached(proxy) >= REACHING, (REACHING - reached(proxy), seen)
        for way in ("cors", "cors-post", "image", "script", "socket", "event-source"):
            assert seen[way] == "error", (way, seen)
        for way in ("image", "fetch", "source", "socket"):
            assert seen[f"sandboxed-{way}"] == "error", (way, seen)

    await led(scenario)
    assert await started(known) == before


async def test_what_is_left_over_plain_http(led: Everywhere, known: int) -> None:
    """A script that sets `Accept` starts a reply there, which it can't read; on the loopback it starts none."""

    async def scenario(new_profile: NewProfile) -> None:
        async with attacker() as port:
            page = await (await new_profile()).open(f"http://127.0.0.2:{port}/")
            for host, more in (("chat.example", 1), ("127.0.0.1", 0)):
                before = await started(known)
                seen = await page.evaluate(
                    "url => fetch(url, {mode: 'no-cors', headers: {Accept: 'text/event-stream'}})"
                    ".then(response => response.type, () => 'error')",
                    f"http://{host}:{known}/api/chat?message=left",
                )
                assert seen == "opaque"
                assert await started(known) == before + more

    await one_by_one(led, scenario)


async def test_a_product_on_another_origin(led: Everywhere, names: Names) -> None:
    """Its pages send cookies and a header of their own, and read what they are answered."""
    port = free_port()
    friend = f"http://friend.example:{port}"
    names.places["friend.example", port] = "127.0.0.2", port
    flags = ["--allow-host", "chat.friend.example", "--allow-origin", friend]
    flags += ["--allow-credentials", "--allow-header", "X-Session", "--pace", "0"]
    process, service = start_service(*flags)

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"{friend}/")
        seen = await page.evaluate(
            "url => fetch(url, {method: 'POST', credentials: 'include', body: '{\"message\": \"hi\"}', headers:"
            " {'Content-Type': 'application/json', Accept: 'text/plain', 'X-Session': '1'}})"
            ".then(response => response.text(), () => 'error')",
            f"http://chat.friend.example:{service}/api/chat",
        )
        assert seen == "hi"

    try:
        async with attacker(port=port):
            await led(scenario)
    finally:
        end_service(process)


# ---------------------------------------------------------------------- the service's own page


async def uses_every_transport(page: Page) -> None:
    """Send a message over each transport, and see its text come back by that transport."""
    for transport in TRANSPORTS:
        await driving.use(page, transport)
        await driving.send(page)
        await driving.state(page, "done")
        assert await driving.text(page) == TEXT, transport
        assert await driving.notes(page) == "", transport


async def test_the_service_under_another_name(
    led: Everywhere, known: int, careless: int
) -> None:
    """Its page works wholly where that name is known; else it says which flag makes it known."""

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://chat.example:{known}/")
        await uses_every_transport(page)
        await page.goto(f"http://other.example:{known}/")
        shown = await driving.seen(page, "body")
        assert "--allow-host other.example" in shown

    await led(scenario)


async def test_a_link_of_a_model_to_the_service_itself_starts_no_reply(
    led: Everywhere, known: int
) -> None:
    """It is plain text on the page, and refused where a reply is shown by itself."""

    async def scenario(new_profile: NewProfile) -> None:
        for host in ("127.0.0.1", "chat.example"):
            base = f"http://{host}:{known}/"
            page = await (await new_profile()).open(base)
            link = f"{base}api/chat?message=started"
            message = f"[here]({link}) and [there](http://elsewhere.example/)"
            message += " and so on" * 150  # so that the page sees it run
            await driving.send(page, message)
            await driving.there(page, f"{LAST} .rendered a[href]")
            links = await page.evaluate(
                "last => [...document.querySelectorAll(last + ' .rendered a')].map(a => a.href)",
                LAST,
            )
            assert links == ["", "http://elsewhere.example/"]
            reply = await page.evaluate(
                "message => fetch('api/chat', {method: 'POST', body: JSON.stringify({message}),"
                " headers: {'Content-Type': 'application/json', Accept: 'application/json'}})"
                ".then(response => response.json()).then(({reply}) => reply)",
                message,
            )
            before = await started(known)
            await page.goto(f"{base}api/chat/{reply}")
            await page.evaluate("document.querySelector('a').removeAttribute('target')")
            await page.evaluate("document.querySelector('a').click()")
            await page.wait_for_function(
                "() => document.title.startsWith('This origin')"
            )
            assert await started(known) == before

    await one_by_one(led, scenario)


# ---------------------------------------------------------------------- behind nginx, with TLS and without

NGINX = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
server {{
  listen 127.0.0.1:{plain};
  listen 127.0.0.1:{tls} ssl;
  ssl_certificate {folder}/chain.pem;
  ssl_certificate_key {folder}/key.pem;
  location / {{
    proxy_pass http://127.0.0.1:{service};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_buffering off;
    {host}
  }}
}}
"""

HOSTS = {
    "with-host": "proxy_set_header Host $http_host;",
    "with-forwarded-host": "proxy_set_header X-Forwarded-Host $http_host;",
    "without-host": "",
}
"""What nginx passes on of the name that the browser asked for."""


@asynccontextmanager
async def behind_nginx(
    names: Names, name: str, folder: Path, host: str, *flags: str
) -> AsyncIterator[int]:
    """Serve behind an nginx to which a name leads, with TLS and without; yield the service's port."""
    require("nginx")
    certificate = trustme.CA().issue_cert(name)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / "chain.pem", append=True)
    process, service = start_service("--pace", "0.001", *flags)
    plain, tls = free_port(), free_port()
    names.places[name, 80] = "127.0.0.1", plain
    names.places[name, 443] = "127.0.0.1", tls
    http = NGINX.format(plain=plain, tls=tls, service=service, folder=folder, host=host)
    server = NginxServer(folder, plain, http)
    try:
        server.start()
        yield service
    finally:
        server.stop()
        end_service(process)


KNOWN = ("--allow-host", "chat.example", "--trusted-proxy", "127.0.0.1")


@pytest.mark.parametrize("passed", ["with-host", "with-forwarded-host"])
async def test_behind_nginx_the_page_works_with_tls_and_without(
    led: Everywhere, names: Names, tmp_path: Path, passed: str
) -> None:
    """The page without TLS is none of the service's with TLS, although their hosts are the same."""
    async with behind_nginx(
        names, "chat.example", tmp_path, HOSTS[passed], *KNOWN
    ) as service:

        async def scenario(new_profile: NewProfile) -> None:
            profile = await new_profile()
            await uses_every_transport(await profile.open("https://chat.example/"))
            page = await profile.open("http://chat.example/")
            await uses_every_transport(page)
            before = await started(service)
            secure = await attack(page, "asOwn", "https://chat.example/")
            assert set(secure.values()) == {"error"}
            assert await started(service) == before

        await one_by_one(led, scenario)


async def test_behind_nginx_without_host_only_a_page_with_tls_is_own(
    led: Everywhere, names: Names, tmp_path: Path
) -> None:
    """Over TLS browsers say that a request is of the page's own origin; without it nobody knows."""
    async with behind_nginx(names, "chat.example", tmp_path, HOSTS["without-host"]):

        async def scenario(new_profile: NewProfile) -> None:
            profile = await new_profile()
            page = await profile.open("https://chat.example/")
            await driving.use(page, "sse")
            await driving.send(page)
            await driving.state(page, "done")
            page = await profile.open("http://chat.example/")
            await driving.use(page, "sse")
            await driving.send(page)
            await driving.state(page, "failed")

        await one_by_one(led, scenario)


@pytest.mark.parametrize("passed", HOSTS)
async def test_a_page_that_rebinds_its_name_to_nginx(
    led: Everywhere, names: Names, tmp_path: Path, passed: str
) -> None:
    """nginx answers every name. With the name passed on nothing is answered; without it nothing starts by POST."""
    number = iter(range(9))
    async with behind_nginx(names, "chat.example", tmp_path, HOSTS[passed], *KNOWN):
        nginx = names.places["chat.example", 80]

        async def scenario(new_profile: NewProfile) -> None:
            place = f"rebound-to-nginx-{next(number)}.example", 80
            async with attacker() as port:
                names.places[place] = "127.0.0.2", port
                page = await (await new_profile()).open(f"http://{place[0]}/")
                names.places[place] = nginx
                seen = await attack(page, "asOwn", f"http://{place[0]}/")
            if passed == "with-host":
                assert {seen.pop("event-source"), seen.pop("socket")} == {"error"}
                assert {answer[:3] for answer in seen.values()} == {"421"}, seen
            else:
                for way in ("post", "forwarded"):
                    assert seen[way].startswith("403 "), (way, seen)
                assert seen["socket"] == "error"

        await one_by_one(led, scenario)
