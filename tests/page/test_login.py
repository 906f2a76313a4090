"""Signing in and out in real browsers, and a page whose reader is not signed in any more."""

import asyncio
import hashlib
import json
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from playwright.async_api import Browser, Error
from selenium.common.exceptions import WebDriverException

from chatsvc.app import create_app
from chatsvc.settings import Settings
from tests.loopback import free_port

from . import driving
from .browsers import READY, TIMEOUT_MS, Everywhere, NewProfile, Page, PlaywrightProfile
from .conftest import PACE_S, StartProfile, end_service, run_in_all, start_service
from .driving import LAST, TEXT
from .webdriver import POLL_S, WebDriverProfile, start_webkit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"
MESSAGE = TEXT * 24  # which takes a while, also on a busy machine
FORM = "document.querySelector('#key') !== null"
"""The expression that is true on the form for signing in."""
LINKED = "#abcdefghijklmnopqrstuv"
"""The part of an address that names a reply."""


def write_keys(path: Path, **keys: str) -> None:
    """Write a file of users' keys."""
    path.write_text(
        "".join(
            f'[[key]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
            for name, key in keys.items()
        )
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file of the keys of alice and bob."""
    path = tmp_path / "keys.toml"
    write_keys(path, alice=ALICE, bob=BOB)
    return path


@pytest.fixture
def guarded(keys: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service for users with keys: its process, and the address of its page."""
    process, port = start_service("--pace", str(PACE_S), "--api-keys-file", str(keys))
    yield process, f"http://127.0.0.1:{port}/"
    end_service(process)


async def arrived(page: Page, ready: str = READY) -> None:
    """Wait until an expression is true on a page to which a form or a link leads.

    In the middle of a navigation a browser may fail to evaluate anything.
    """
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while True:
            with suppress(Error, WebDriverException):
                if await page.evaluate(ready):
                    return
            await asyncio.sleep(POLL_S)


async def sign_in(page: Page, key: str, ready: str = READY) -> None:
    """Fill in the form for signing in, and wait for what comes."""
    await arrived(page, FORM)
    # Until the next page is there, this one must not be taken for it.
    await page.evaluate("document.querySelector('#key').id = 'old'")
    await page.fill("#old", key)
    await page.press("#old", "Enter")
    await arrived(page, ready)


async def test_signing_in_and_out_and_in_again(
    everywhere: Everywhere, guarded: tuple[subprocess.Popen[str], str]
) -> None:
    _, home = guarded

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"{home}{LINKED}", FORM)
        await sign_in(page, "wrong-0123456789abcdef", FORM)
        assert "not known here" in await driving.seen(page, "#trouble")
        await sign_in(page, ALICE)
        # The address of a reply is not lost on the way.
        assert await page.evaluate("location.href") == f"{home}{LINKED}"
        await page.evaluate("location.assign('./')")
        await arrived(page, f"location.hash === '' && {READY}")
        assert await driving.seen(page, "#user span") == "alice"

        await driving.use(page, "sse")
        await driving.send(page, MESSAGE)
        await driving.grown(page, 1)
        # In another tab the reader signs out; then this one reads on.
        await page.evaluate("() => fetch('logout', {method: 'POST'}).then(() => true)")
        for transport in ("websocket", "poll"):
            await driving.use(page, transport)
            await driving.state(page, "lost")
            assert await driving.seen(page, f"{LAST} .problem") == (
                "Please sign in again."
            )
            there = await driving.text(page)
            assert there and MESSAGE.startswith(there) and there != MESSAGE
            # Whoever comes back to the page may have signed in elsewhere.
            if transport == "websocket":
                await page.evaluate(
                    "() => document.dispatchEvent(new Event('visibilitychange'))"
                )
        await page.click(f"{LAST} .sign-in")
        await sign_in(page, ALICE)
        # The reply is read on from where it was left, without another click.
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE

        await page.click("#user button")
        await arrived(page, FORM)
        # The way back shows nothing of what alice has seen.
        await page.evaluate("() => { window.before = true; history.back(); }")
        await arrived(page, f"!window.before && {FORM}")
        await sign_in(page, BOB)
        await driving.send(page, "of bob")
        await driving.state(page, "done")
        assert await driving.articles(page) == 2
        await page.click("#user button")
        await sign_in(page, ALICE)
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE

    await everywhere(scenario)


async def test_a_message_waits_until_its_writer_has_signed_in_again(
    everywhere: Everywhere, guarded: tuple[subprocess.Popen[str], str]
) -> None:
    _, home = guarded

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(home, FORM)
        await sign_in(page, ALICE)
        await page.evaluate("() => fetch('logout', {method: 'POST'}).then(() => true)")
        await driving.send(page, MESSAGE)
        await driving.state(page, "lost")
        await page.click(f"{LAST} .sign-in")
        await sign_in(page, ALICE)
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE
        assert await driving.articles(page) == 2

    await everywhere(scenario)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_key_is_withdrawn_while_a_reply_streams(
    chromium: Browser,
    guarded: tuple[subprocess.Popen[str], str],
    keys: Path,
    transport: str,
) -> None:
    process, home = guarded
    context = await chromium.new_context()
    try:
        page = await context.new_page()
        await page.goto(home)
        await sign_in(page, ALICE)
        await driving.use(page, transport)
        await driving.send(page, MESSAGE)
        await driving.grown(page, 1)
        write_keys(keys, bob=BOB)
        process.send_signal(signal.SIGHUP)
        await driving.state(page, "lost")
        assert await driving.seen(page, f"{LAST} .problem") == "Please sign in again."
        there = await driving.text(page)
        assert there and MESSAGE.startswith(there)
        assert "sign in again" in await driving.seen(page, "#said")
        await page.click(f"{LAST} .sign-in")
        await arrived(page, FORM)
    finally:
        await context.close()


@pytest.mark.parametrize("prefix", ["/", "/deep/chat/"])
async def test_a_session_over_tls_is_kept_by_browsers(
    chromium: Browser, firefox: Browser, display: str, prefix: str
) -> None:
    """Browsers throw a cookie away whose name promises what its attributes don't keep."""
    service = outer = create_app(Settings(pace=0, api_keys=ALICE))
    if prefix != "/":
        outer = web.Application()
        outer.add_subapp(prefix, service)
    runner = web.AppRunner(
        outer, handler_cancellation=prefix == "/", auto_decompress=False
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(
            f"https://127.0.0.1:{port}{prefix}", FORM
        )
        await sign_in(page, ALICE)
        await driving.send(page)
        await driving.state(page, "done")
        assert await driving.text(page) == TEXT
        await page.click("#user button")
        await arrived(page, FORM)
        await page.evaluate("location.assign('./')")
        await arrived(page, f"location.pathname.endsWith('/login') && {FORM}")

    browsers: list[StartProfile] = [
        partial(PlaywrightProfile.start, browser, ignore_https_errors=True)
        for browser in (chromium, firefox)
    ]
    webkit = partial(WebDriverProfile.start, partial(start_webkit, display))
    try:
        await run_in_all([*browsers, webkit])(scenario)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
async def test_axe_finds_nothing_on_the_form(
    chromium: Browser,
    guarded: tuple[subprocess.Popen[str], str],
    npm: Path,
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    context = await chromium.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    try:
        page = await context.new_page()
        await page.goto(guarded[1])
        await page.evaluate(axe)
        for key, ready in (("wrong-0123456789abcdef", FORM), (ALICE, READY)):
            found = await page.evaluate("axe.run().then(({violations}) => violations)")
            assert found == [], json.dumps(found, indent=1)[:3000]
            await sign_in(page, key, ready)
            await page.evaluate(axe)
        found = await page.evaluate("axe.run().then(({violations}) => violations)")
        assert found == [], json.dumps(found, indent=1)[:3000]
    finally:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere(
    guarded: tuple[subprocess.Popen[str], str],
) -> AsyncIterator[str]:
    """The address of a page of another site, which has a link to the service's page."""

    async def page(request: web.Request) -> web.Response:
        text = (
            f'<!doctype html><title>x</title><a id="key" href="{guarded[1]}">chat</a>'
        )
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://localhost:{port}/"
    await runner.cleanup()


async def test_a_link_of_another_site_finds_the_reader_signed_in(
    everywhere: Everywhere,
    guarded: tuple[subprocess.Popen[str], str],
    elsewhere: str,
) -> None:
    """Although a session with SameSite=Strict is not sent with the request for it."""
    _, home = guarded

    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(home, FORM)
        await sign_in(page, ALICE)
        await page.goto(elsewhere)
        await page.click("#key")
        await arrived(page)
        assert await page.evaluate("location.href") == home

    await everywhere(scenario)
