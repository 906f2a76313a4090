"""A reader who comes back: to a service that was unreachable, a page in the background, or out of the cache."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from selenium.webdriver.remote.webdriver import WebDriver

from . import driving, proxies
from .browsers import Everywhere, NewProfile, Page
from .conftest import OpenPage
from .driving import LAST, TEXT
from .proxies import Pipe, Proxy
from .webdriver import WebDriverProfile, start_chromium, start_webkit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

MESSAGE = TEXT * 8

HURRY = """() => {
  const wait = setTimeout;
  window.setTimeout = (run, ms) => wait(run, ms / 50);
}"""
"""A script that makes timers run 50 times faster: half a minute of back-off takes half a second."""


class Road:
    """The connection between the page and the service, with one of `pipes` for each request."""

    def __init__(self) -> None:
        self.pipes: list[Pipe] = []

    def __call__(self, head: bytes) -> Pipe:
        """Return the next pipe for a request of the chat; the last one is used for all further ones."""
        if b"/api" not in head and b"\r\nupgrade:" not in head.lower():
            return proxies.pass_on
        return self.pipes.pop(0) if len(self.pipes) > 1 else self.pipes[0]


async def give_up(page: Page, road: Road) -> None:
    """Start a reply whose connection is cut, and wait until the page has given it up."""
    # A browser may throw away what it has not read yet when the connection breaks.
    read = asyncio.Event()
    road.pipes = [proxies.cut(400, read), proxies.drop]
    await page.evaluate(HURRY)
    await driving.send(page, MESSAGE)
    await driving.grown(page, 1)
    read.set()
    await driving.state(page, "lost")
    there = await driving.text(page)
    assert there and MESSAGE.startswith(there) and there != MESSAGE


async def test_a_reply_that_was_given_up_is_continued(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        road = Road()
        async with Proxy(service, road) as proxy:
            page = await (await new_profile()).open(proxy.url)
            await give_up(page, road)
            assert "can't be reached" in await driving.seen(page, f"{LAST} .problem")
            assert "lost" in await driving.seen(page, "#said")
            assert not await page.evaluate("document.querySelector('#send').hidden")
            road.pipes = [proxies.pass_on]
            await page.click(f"{LAST} .resume")
            await driving.state(page, "done")
            assert await driving.text(page) == MESSAGE
            assert await page.evaluate(
                "last => !document.querySelector(last + ' .resume')", LAST
            )
            assert await driving.seen(page, f"{LAST} .problem") == ""

    await everywhere(scenario)


async def test_it_goes_on_by_itself_when_the_network_is_back(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    road = Road()
    async with Proxy(service, road) as proxy:
        page = await open_page(chromium, proxy.url)
        await give_up(page, road)
        # The event `offline` would make the page try again as well.
        await page.evaluate(
            "addEventListener('offline',"
            " (event) => event.stopImmediatePropagation(), true)"
        )
        await page.context.set_offline(True)
        road.pipes = [proxies.pass_on]
        await page.context.set_offline(False)
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE


async def test_a_service_on_this_machine_needs_no_network(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    road = Road()
    async with Proxy(service, road) as proxy:
        road.pipes = [proxies.cut(400), proxies.pass_on]
        page = await open_page(chromium, proxy.url)
        await page.add_init_script(
            "Object.defineProperty(Navigator.prototype, 'onLine', {get: () => false})"
        )
        await page.reload()
        await page.wait_for_selector("html[data-ready]")
        assert await page.evaluate("navigator.onLine") is False
        await driving.send(page, MESSAGE)
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE
        assert "offline" not in await driving.seen(page, "#notice")


@pytest_asyncio.fixture(loop_scope="session", params=["chromium", "webkit"])
async def profile(request: pytest.FixtureRequest) -> AsyncIterator[WebDriverProfile]:
    """A browser whose windows can be minimised."""
    start: Callable[[], WebDriver] = start_chromium
    if request.param == "webkit":
        start = partial(start_webkit, request.getfixturevalue("display"))
    profile = await WebDriverProfile.start(start)
    yield profile
    await profile.close()


async def test_a_hidden_page_keeps_up(profile: WebDriverProfile, service: int) -> None:
    page = await profile.open(f"http://127.0.0.1:{service}/")
    await driving.send(page, MESSAGE)
    await driving.grown(page, 5)
    place = "document.querySelector('#scroller').scrollTop"
    before = await page.evaluate(place)
    await page.hide()
    await page.evaluate(
        "() => { window.frames_ = 0; requestAnimationFrame(() => frames_++); }"
    )
    await driving.state(page, "done")
    assert await driving.text(page) == MESSAGE
    assert await page.evaluate("[document.visibilityState, frames_]") == ["hidden", 0]
    await page.show()
    await page.wait_for_function("() => document.visibilityState === 'visible'")
    assert await driving.text(page) == MESSAGE
    # What the reader was at stands where it was.
    assert await page.evaluate(place) == before > 0


async def test_it_goes_on_by_itself_when_the_page_is_seen_again(
    profile: WebDriverProfile, service: int
) -> None:
    road = Road()
    async with Proxy(service, road) as proxy:
        page = await profile.open(proxy.url)
        await give_up(page, road)
        await page.hide()
        road.pipes = [proxies.pass_on]
        await page.show()
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE


async def test_it_goes_on_by_itself_when_the_page_comes_out_of_the_cache(
    profile: WebDriverProfile, service: int
) -> None:
    road = Road()
    async with Proxy(service, road) as proxy:
        page = await profile.open(proxy.url)
        await give_up(page, road)
        await page.evaluate(
            "() => {"
            " addEventListener('pageshow', ({persisted}) => window.kept = persisted);"
            # A page that comes back is seen again, too; here it must do without.
            " addEventListener('visibilitychange',"
            "  (event) => event.stopImmediatePropagation(), true); }"
        )
        await page.goto(f"{proxy.url}healthz")
        road.pipes = [proxies.pass_on]
        await page.go_back()
        await driving.state(page, "done")
        assert await driving.text(page) == MESSAGE
        assert await page.evaluate("window.kept") is True
