"""Replies shown as Markdown, which the service renders."""

import pytest
from playwright.async_api import Browser, Route

from . import driving
from .conftest import OpenPage, Watched
from .driving import LAST

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]


async def test_markdown_is_shown_block_by_block_and_the_text_stays_exact(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    watched = Watched(page)
    message = (
        "# 标题\n\n<script>alert(1)</script>\n\n```py\nx = 1\n\ny = 2\n```\n\n"
        + "and a [bad link](javascript:alert(1)) in **words** that go on\n" * 4
    )
    await driving.send(page, message)
    await page.wait_for_selector(f"{LAST}[data-state=running] .rendered h1")
    shown = await page.evaluate("last => document.querySelector(last).innerText", LAST)
    assert "# 标题" not in shown  # what is rendered is not shown twice
    await page.wait_for_selector(f"{LAST}[data-state=done] .rendered strong")
    assert await driving.text(page) == message
    assert not await page.is_visible(f"{LAST} .text")
    assert await page.locator(f"{LAST} .rendered script").count() == 0
    assert await page.locator(f"{LAST} a[href^=javascript]").count() == 0
    assert await page.locator(f"{LAST} .code button").count() == 1
    await page.reload()
    await page.wait_for_selector(f"{LAST} .rendered strong")
    await page.click(f"{LAST} .raw")
    assert await page.is_visible(f"{LAST} .text")
    assert not await page.is_visible(f"{LAST} .rendered")
    assert await driving.text(page) == message
    assert watched.messages == []


async def test_markdown_that_was_lost_on_the_way_is_asked_for_again(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    lost: list[str] = []

    async def lose(route: Route) -> None:
        wants_html = route.request.headers["accept"] == "text/html"
        if not wants_html or len(lost) == 2:
            await route.continue_()
        else:
            lost.append(route.request.url)
            await route.fulfill(status=502, body="Bad Gateway")

    await page.route("**/api/chat/*", lose)
    await driving.send(page, "**bold**")
    await page.wait_for_selector(f"{LAST} .rendered strong")
    assert len(lost) == 2


async def test_a_reply_that_is_gone_leaves_markdown_to_the_others(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")

    async def forget(route: Route) -> None:
        if route.request.headers["accept"] == "text/html":
            await route.fulfill(status=410, body="Gone")
        else:
            await route.continue_()

    await page.route("**/api/chat/*", forget)
    async with page.expect_response(lambda response: response.status == 410):
        await driving.send(page, "**bold**")
    await driving.state(page, "done")
    await page.unroute("**/api/chat/*")
    await driving.send(page, "**bold**")
    await page.wait_for_selector(f"{LAST} .rendered strong")


async def test_what_is_rendered_stays_in_place_while_more_comes(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    code = "```\n" + "wide " * 60 + "\n```\n\n"
    await driving.send(page, code + "more\n\n" * 60)
    await page.wait_for_selector(f"{LAST} .rendered pre")
    await page.evaluate(
        "last => {"
        " window.pre = document.querySelector(last + ' .rendered pre');"
        " pre.scrollLeft = 40;"
        " getSelection().selectAllChildren(pre); }",
        LAST,
    )
    await page.wait_for_function(
        "last => document.querySelectorAll(last + ' .rendered p').length === 60",
        arg=LAST,
    )
    assert await page.evaluate("[pre.isConnected, pre.scrollLeft]") == [True, 40]
    assert await page.evaluate("getSelection().toString().startsWith('wide wide')")
    assert await page.locator(f"{LAST} .code button").count() == 1
