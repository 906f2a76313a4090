"""A reply that an address names: its link opened in a tab of its own, or where the page is open already."""

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from . import driving
from .browsers import Everywhere, NewProfile
from .conftest import OpenPage
from .driving import TEXT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]

MESSAGE = TEXT * 8


async def start_reply(page: Page) -> str:
    """Start a reply, and return its link."""
    await driving.send(page, MESSAGE)
    await page.wait_for_selector(".link:not([hidden])")
    link = await page.get_attribute(".link", "href")
    assert link is not None
    return link


async def load(context: BrowserContext, url: str) -> Page:
    """Open an address in another tab of the same browser."""
    tab = await context.new_page()
    await tab.goto(url)
    await tab.wait_for_selector("html[data-ready]")
    return tab


async def test_a_link_that_is_pasted_into_a_tab_of_the_page_is_opened(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        home = f"http://127.0.0.1:{service}/"
        page = await (await new_profile()).open(home)
        await driving.send(page, MESSAGE)
        await driving.there(page, ".link:not([hidden])")
        link = await page.evaluate("document.querySelector('.link').href")
        tab = await (await new_profile()).open(home)
        await tab.evaluate("link => { location.href = link; }", link)
        await driving.state(tab, "done")
        assert await driving.text(tab) == MESSAGE

    await everywhere(scenario)


async def test_a_click_on_the_link_does_not_disturb_the_conversation(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.send(page, "before")
    await driving.state(page, "done")
    await start_reply(page)
    await page.evaluate("window.same = true")
    await page.click("article:last-child .link")
    await driving.state(page, "done")
    assert await page.evaluate("window.same")
    # The reply that the address names is replaced, and yet the next load finds the rest.
    await page.click("article:last-child .retry")
    await driving.state(page, "done")
    await page.reload()
    await driving.state(page, "done")
    assert await driving.articles(page) == 4


async def test_a_linked_reply_has_the_reader_s_transport_and_a_conversation_of_its_own(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    link = await start_reply(page)
    reader = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.use(reader, "poll")
    tab = await load(reader.context, link)
    assert await tab.input_value("#transport") == "poll"
    await driving.use(tab, "websocket")
    await driving.state(tab, "done")
    await reader.reload()
    assert await reader.input_value("#transport") == "websocket"
    assert await driving.articles(reader) == 0


async def test_a_linked_reply_that_was_cleared_does_not_come_back(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    link = await start_reply(page)
    tab = await open_page(chromium, link)
    await driving.state(tab, "done")
    await tab.click("#clear")
    await tab.wait_for_selector("body.empty")
    await driving.send(tab, "new")
    await driving.state(tab, "done")
    await tab.reload()
    await driving.state(tab, "done")
    assert await driving.articles(tab) == 2
    assert await driving.text(tab) == "new"
