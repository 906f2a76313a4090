"""Replies shown as Markdown, which the service renders."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route

from . import driving
from .browsers import Everywhere, NewProfile
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
    assert await page.locator(f"{LAST} .code .copy").count() == 1
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
    # It brings no rendered blocks, so they are asked for.
    await driving.use(page, "poll")
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
    await driving.use(page, "poll")
    async with page.expect_response(lambda response: response.status == 410):
        await driving.send(page, "**bold**")
    await driving.state(page, "done")
    await page.wait_for_selector(f"{LAST} .text:not([hidden])")
    assert await driving.text(page) == "**bold**"
    await page.unroute("**/api/chat/*")
    await driving.send(page, "**bold**")
    await page.wait_for_selector(f"{LAST} .rendered strong")


async def test_what_is_rendered_stays_in_place_while_more_comes(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    code = "```\n" + "wide " * 60 + "\n```\n\n"
    await driving.send(page, code + "more\n\n" * 60)
    await page.wait_for_function(
        "last => document.querySelector(last + ' .rendered pre')?.scrollWidth > 2000",
        arg=LAST,
    )
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
    assert await page.locator(f"{LAST} .code .copy").count() == 1


WRITTEN = r"""**注意：**请看 $\frac{1}{2}$ and $5 and $10.[^1]

$$
\begin{aligned} a &= b \\ c &= \sqrt{\left(\frac{1}{2}\right)} \end{aligned} \tag{1}
$$

$$WIDE$$

- [ ] todo
- [x] done https://example.com/a。后

$\href{javascript:alert(1)}{x}$

[^1]: A footnote.
""".replace("WIDE", "+".join(f"a_{{{number}}}" for number in range(99)))

MEASURED = """last => {
    const rendered = document.querySelector(last + ' .rendered');
    const all = (selector) => [...rendered.querySelectorAll(selector)];
    const line = rendered.querySelector('mfrac').getBoundingClientRect();
    const digit = rendered.querySelector('mfrac mn').getBoundingClientRect();
    const [tall, wide] = all('.formula');
    return {
        strong: rendered.querySelector('strong').textContent,
        money: rendered.querySelector('p').textContent.includes('$5 and $10.'),
        namespaces: all('math, math *').every(
            (each) => each.namespaceURI === 'http://www.w3.org/1998/Math/MathML'),
        fraction: line.height > digit.height * 1.5 && line.width < digit.width * 4,
        root: tall.querySelector('msqrt').getBoundingClientRect().height
            > digit.height * 2,
        number: tall.querySelector('mtext').getBoundingClientRect().height
            < digit.height * 3,
        sources: all('annotation').every(
            (each) => each.getClientRects().length === 0
                || getComputedStyle(each).display === 'none'),
        scrolls: wide.scrollWidth > wide.clientWidth && wide.tabIndex === 0,
        fits: tall.scrollWidth === tall.clientWidth,
        page: document.documentElement.scrollWidth <= innerWidth
            && rendered.scrollWidth <= rendered.clientWidth,
        boxes: all('label input').map((box) =>
            [box.type, box.disabled, box.checked, box.labels[0].textContent.trim()]),
        links: all('a[href^="http"]').map((link) => [link.href, link.target]),
        code: all('p > code').map((each) => each.textContent),
    };
}"""


async def test_text_as_people_write_it_in_every_browser(
    everywhere: Everywhere, fast_service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        profile = await new_profile()
        page = await profile.open(f"http://127.0.0.1:{fast_service}/")
        await driving.send(page, WRITTEN)
        await driving.there(page, f"{LAST}[data-state=done] .rendered .footnotes")
        address = await page.evaluate("location.href")
        assert await page.evaluate(MEASURED, LAST) == {
            "strong": "注意：",
            "money": True,
            "namespaces": True,
            "fraction": True,
            "root": True,
            "number": True,
            "sources": True,
            "scrolls": True,
            "fits": True,
            "page": True,
            "boxes": [
                ["checkbox", True, False, "todo"],
                ["checkbox", True, True, "done https://example.com/a。后"],
            ],
            "links": [["https://example.com/a", "_blank"]],
            "code": [r"$\href{javascript:alert(1)}{x}$"],
        }
        focused = "document.activeElement.id"
        reply = (await page.evaluate(f"document.querySelector('{LAST} li[id]').id"))[3:]
        await page.click(f"{LAST} sup a")
        assert await page.evaluate(focused) == f"fn-{reply}"
        await page.click(f"{LAST} .footnotes a")
        assert await page.evaluate(focused) == f"fnref-{reply}"
        # The fragment of the address names the reply that a link has opened.
        assert await page.evaluate("location.href") == address
        assert await driving.text(page) == WRITTEN
        assert profile.messages == []

    await everywhere(scenario)


async def test_axe_finds_nothing_in_it(
    chromium: Browser, fast_service: int, open_page: OpenPage, npm: Path
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    for scheme in ("light", "dark"):
        page = await open_page(
            chromium, f"http://127.0.0.1:{fast_service}/", color_scheme=scheme
        )
        for _ in range(2):
            await driving.send(page, WRITTEN)
            await driving.there(page, f"{LAST}[data-state=done] .footnotes")
        await page.evaluate(axe)
        found = await page.evaluate("axe.run().then(({violations}) => violations)")
        assert found == [], json.dumps(found, indent=1)[:3000]
