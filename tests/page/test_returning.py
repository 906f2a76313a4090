"""A reader who was away: the service lost from sight, a tab in the background, a page out of the cache."""

import asyncio
import shutil

import pytest
from playwright.async_api import Browser, async_playwright

from . import driving, proxies
from .browsers import CHROMIUM_FLAGS
from .conftest import OpenPage, Watched
from .driving import LAST, TEXT
from .proxies import Pipe, Proxy

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.thorough]


async def test_a_reply_that_was_given_up_is_continued(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    pipes: list[Pipe] = [proxies.cut(400), proxies.drop]
    message = TEXT * 4

    def choose(head: bytes) -> Pipe:
        if b"/api" not in head and b"\r\nupgrade:" not in head.lower():
            return proxies.pass_on
        return pipes.pop(0) if len(pipes) > 1 else pipes[0]

    async with Proxy(service, choose) as proxy:
        page = await open_page(chromium, proxy.url)
        await page.clock.install()
        await page.reload()
        await page.wait_for_selector("html[data-ready]")
        await driving.send(page, message)
        await driving.grown(page, 1)
        lost = page.locator(f"{LAST}[data-state=lost]")
        async with asyncio.timeout(30):
            while not await lost.count():
                await page.clock.fast_forward(9_000)
                await asyncio.sleep(0.02)
        assert "can't be reached" in await page.inner_text(f"{LAST} .problem")
        assert "lost" in await page.inner_text("#said")
        assert await page.is_visible("#send")
        there = await driving.text(page)
        assert there and message.startswith(there) and there != message
        pipes[:] = [proxies.pass_on]
        await page.click(f"{LAST} .resume")
        await driving.state(page, "done")
        assert await driving.text(page) == message
        assert not await page.is_visible(f"{LAST} .resume")
        assert await page.inner_text(f"{LAST} .problem") == ""


AWAY = """() => {
  let hidden = true;
  Object.defineProperty(document, 'visibilityState',
    {configurable: true, get: () => hidden ? 'hidden' : 'visible'});
  const ask = window.requestAnimationFrame;
  window.requestAnimationFrame = () => 0;
  document.dispatchEvent(new Event('visibilitychange'));
  window.comeBack = () => {
    hidden = false;
    window.requestAnimationFrame = ask;
    document.dispatchEvent(new Event('visibilitychange'));
  };
}"""
"""No headless browser hides a page; this does to it what hiding does: no frame comes."""


async def test_a_page_in_the_background_keeps_up(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.send(page, TEXT * 4)
    await driving.grown(page, 5)
    await page.evaluate(AWAY)
    # Watched by what changes, not by frames: there are none now.
    await page.evaluate(
        "last => new Promise((done) => new MutationObserver((_, observer) => {"
        " if (!document.querySelector(last + '[data-state=done]')) return;"
        " observer.disconnect(); done(); }).observe(document.querySelector('#log'),"
        " {attributes: true, childList: true, subtree: true}))",
        LAST,
    )
    assert await page.evaluate("document.visibilityState") == "hidden"
    assert await driving.text(page) == TEXT * 4
    await page.evaluate("comeBack()")
    assert await driving.text(page) == TEXT * 4
    at_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight < 2"
    assert await page.eval_on_selector("#scroller", at_end)


async def test_a_page_out_of_the_back_forward_cache_goes_on(service: int) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=CHROMIUM_FLAGS,
            ignore_default_args=["--disable-back-forward-cache"],
        )
        page = await (await browser.new_context()).new_page()
        watched = Watched(page)
        await page.goto(f"http://127.0.0.1:{service}/")
        await page.wait_for_selector("html[data-ready]")
        await page.evaluate(
            "addEventListener('pageshow', ({persisted}) => { window.kept = persisted; })"
        )
        await driving.send(page, TEXT * 12)
        await driving.grown(page, 5)
        await page.goto(f"http://localhost:{service}/")
        await page.go_back(wait_until="commit")
        await driving.state(page, "done")
        assert await driving.text(page) == TEXT * 12
        assert await page.evaluate("window.kept") is True
        assert watched.messages == []
        await browser.close()
