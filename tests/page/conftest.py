"""The real service, real browsers and real proxies, each started once for all page tests."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import TEST_CACHE, THOROUGH, require

from .browsers import CHROMIUM_FLAGS, Everywhere, PlaywrightProfile, Profile, Scenario
from .webdriver import WebDriverProfile, start_webkit, virtual_screen

NPM = {"typescript": "7.0.2", "axe-core": "4.14.1", "lighthouse": "12.8.2"}
CACHE = Path(TEST_CACHE or Path.home() / ".cache" / "chatsvc" / "npm")
PACE_S = 0.01
"""The time between two characters: slow enough to act in mid-reply, fast enough for a test."""


def start_service(*flags: str) -> tuple[subprocess.Popen[str], int]:
    """Start a service in a process of its own, and return the process and the port."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from chatsvc.cli import main; main()",
            "--port",
            "0",
            *flags,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, int(line.rsplit(":", 1)[1])


def end_service(process: subprocess.Popen[str]) -> None:
    """Terminate a service and wait for its end."""
    process.terminate()
    process.communicate()


@pytest.fixture(scope="session")
def service() -> Iterator[int]:
    """The port of a service that echoes, a character each `PACE_S` seconds."""
    process, port = start_service("--pace", str(PACE_S))
    yield port
    end_service(process)


@pytest.fixture(scope="session")
def fast_service() -> Iterator[int]:
    """The port of a service that echoes 1,000 characters a second, long ones too."""
    process, port = start_service("--pace", "0.001", "--max-message", "262144")
    yield port
    end_service(process)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def firefox() -> AsyncIterator[Browser]:
    require("firefox-esr")
    async with async_playwright() as playwright:
        browser = await playwright.firefox.launch(
            channel="moz-firefox", executable_path=shutil.which("firefox-esr")
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The display for browsers that need a screen."""
    with virtual_screen() as display:
        yield display


SCENARIO_TIMEOUT_S = 240
"""The seconds that a scenario may take in a browser, which may wait for its turn. Some calls of
Playwright's, `evaluate` among them, have no limit of their own."""

CLOSE_TIMEOUT_S = 30
"""The seconds in which a profile must have closed. When a scenario fails in one browser it is cancelled in
the others, of which Firefox may then never answer Playwright's request to close its pages."""

StartProfile = Callable[[], Awaitable[PlaywrightProfile | WebDriverProfile]]


@pytest.fixture
def everywhere(chromium: Browser, request: pytest.FixtureRequest) -> Everywhere:
    """Run a scenario in all browsers side by side: most of it is waiting.

    Firefox and WebKit take longest to show a page, so only a thorough run has them.
    """
    starts: list[StartProfile] = [partial(PlaywrightProfile.start, chromium)]
    if THOROUGH:
        firefox = request.getfixturevalue("firefox")
        starts.append(partial(PlaywrightProfile.start, firefox))
        webkit = partial(start_webkit, request.getfixturevalue("display"))
        starts.append(partial(WebDriverProfile.start, webkit))
    return run_in_all(starts)


def run_in_all(starts: list[StartProfile]) -> Everywhere:
    """Return what runs a scenario in browsers side by side; each of `starts` starts a profile."""

    async def run(scenario: Scenario) -> None:
        async def run_in(start: StartProfile) -> None:
            profiles: list[PlaywrightProfile | WebDriverProfile] = []

            async def new_profile() -> Profile:
                profiles.append(await start())
                return profiles[-1]

            try:
                async with asyncio.timeout(SCENARIO_TIMEOUT_S):
                    await scenario(new_profile)
            finally:
                for profile in profiles:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CLOSE_TIMEOUT_S):
                            await profile.close()

        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(run_in(start))

    return run


OpenPage = Callable[..., Awaitable[Page]]


class Watched:
    """The messages and errors of a page's console, of which there must be none."""

    def __init__(self, page: Page) -> None:
        self.messages: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))


@pytest_asyncio.fixture(loop_scope="session")
async def open_page() -> AsyncIterator[OpenPage]:
    """Open the page at an address in a fresh profile: `await open_page(browser, url)`."""
    contexts = []

    async def open_(browser: Browser, url: str, **options: Any) -> Page:
        context = await browser.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    for context in contexts:
        await context.close()


@pytest.fixture(scope="session")
def npm() -> Path:
    """The `node_modules` of the page's checks, installed once for all sessions."""
    require("node", "npm")
    modules = CACHE / "node_modules"
    if not all(_installed(modules, name) == NPM[name] for name in NPM):
        CACHE.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}@{version}" for name, version in NPM.items()]
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", *wanted],
            cwd=CACHE,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = f"npm can't install {', '.join(NPM)}"
            if THOROUGH:
                pytest.fail(reason)
            pytest.skip(reason)
    return modules


def _installed(modules: Path, name: str) -> str | None:
    try:
        version: str = json.loads((modules / name / "package.json").read_text())[
            "version"
        ]
    except OSError:
        return None
    return version
