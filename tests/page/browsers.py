"""What a scenario needs of a browser, so that it runs in all of them."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from playwright.async_api import Browser, BrowserContext

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = "'ready' in document.documentElement.dataset"
"""Whether the page's modules have run."""
TIMEOUT = 20_000
"""Milliseconds that a page has for whatever is waited for."""


class Page(Protocol):
    """Those methods of Playwright's page that a scenario may use."""

    async def goto(self, url: str) -> Any: ...
    async def reload(self) -> Any: ...
    async def fill(self, selector: str, value: str) -> None: ...
    async def press(self, selector: str, key: str) -> None: ...
    async def click(self, selector: str) -> None: ...
    async def select_option(self, selector: str, value: str) -> Any: ...
    async def evaluate(self, expression: str, arg: Any = None) -> Any: ...
    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float = TIMEOUT
    ) -> Any: ...


class Profile(Protocol):
    """A browser as one person has it: its tabs share what is stored."""

    messages: list[str]
    """What the pages said on the console, as far as it can be known."""

    async def open(self, url: str) -> Page:
        """Open the page in a tab of its own."""
        ...


NewProfile = Callable[[], Awaitable[Profile]]
Scenario = Callable[[NewProfile], Awaitable[None]]
Everywhere = Callable[[Scenario], Awaitable[None]]


class PlaywrightProfile:
    """A browser context of Playwright's."""

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(TIMEOUT)
        self._context = context
        self.messages: list[str] = []
        context.on("console", lambda message: self.messages.append(message.text))
        context.on("weberror", lambda error: self.messages.append(str(error.error)))

    @classmethod
    async def start(cls, browser: Browser) -> "PlaywrightProfile":
        """Open a fresh profile in a browser that runs already."""
        return cls(await browser.new_context())

    async def open(self, url: str) -> Page:
        """Open the page in a tab of its own."""
        page = await self._context.new_page()
        await page.goto(url)
        await page.wait_for_function(READY)
        return page

    async def close(self) -> None:
        """Close all its tabs."""
        await self._context.close()
