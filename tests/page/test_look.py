"""The page as its operator has it: its name, its colour, and questions to begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from chatsvc.settings import Settings
from tests.service.running import inside

from . import driving
from .browsers import Everywhere, NewProfile
from .conftest import OpenPage, Watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

TITLE = "Ask <Ada> & 问" * 4
STARTERS = (
    "What <can> you do?\nAn error & its cause\nWrite a haiku\n[zh]\n你能做什么？\n"
)


@pytest_asyncio.fixture(loop_scope="session")
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a service with a look of its own."""
    starters = tmp_path / "starters.txt"
    starters.write_text(STARTERS)
    settings = Settings(
        pace=0, title=TITLE, accent="#ffcc00", starters=str(starters), max_message=40
    )
    async with inside(settings) as chat:
        yield chat.url


async def test_a_click_on_a_question_asks_it(everywhere: Everywhere, url: str) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(url)
        assert await page.evaluate("document.title") == TITLE
        assert (await driving.seen(page, "h1")).strip() == TITLE
        shown = await page.evaluate(
            "[...document.querySelectorAll('.starters button')].map((each) => each.textContent)"
        )
        assert shown == STARTERS.split("\n")[:3]
        await page.fill("#message", "a draft")
        await page.click(".starters li:nth-child(2) button")
        await driving.state(page, "done")
        assert await driving.text(page) == "An error & its cause"
        assert await page.evaluate("document.querySelector('#message').value") == (
            "a draft"
        )
        assert await page.evaluate(
            "document.querySelector('.starters').offsetParent === null"
        )

    await everywhere(scenario)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("scheme", "accent"), [("light", "rgb(128, 102, 0)"), ("dark", "rgb(255, 204, 0)")]
)
async def test_the_colour_can_be_read_in_each_scheme(
    chromium: Browser, open_page: OpenPage, url: str, scheme: str, accent: str
) -> None:
    size = {"width": 320, "height": 568}
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": size}
    page = await open_page(chromium, url, locale="zh-CN", **options)
    watched = Watched(page)
    colour = "each => getComputedStyle(each).backgroundColor"
    assert await page.eval_on_selector("#send", colour) == accent
    assert await page.inner_text(".starters") == "你能做什么？"
    right = "[...document.querySelectorAll('header *, .starters *')].filter((each) => each.getBoundingClientRect().right > innerWidth).length"
    for width in (320, 390, 800):
        await page.set_viewport_size({"width": width, "height": 568})
        assert await page.evaluate(right) == 0, width
    icon = await page.get_attribute("link[rel=icon]", "href")
    answer = await page.request.get(f"{url}/{icon}")
    assert "#ffcc00" in await answer.text()
    assert watched.messages == []
