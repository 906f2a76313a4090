"""The part of a browser that scenarios use, so that they run in all browsers."""

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
"""The expression that is true once the page's modules have run."""
TIMEOUT_MS = 20_000
"""How long a page may take for anything that is waited for."""


class Page(Protocol):
    """The methods of Playwright's page that a scenario may use."""

    async def goto(self, url: str) -> Any: ...
    async def reload(self) -> Any: ...
    async def fill(self, selector: str, value: str) -> None: ...
    async def press(self, selector: str, key: str) -> None: ...
    async def click(self, selector: str) -> None: ...
    async def select_option(self, selector: str, value: str) -> Any: ...
    async def evaluate(self, expression: str, arg: Any = None) -> Any: ...
    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float = TIMEOUT_MS
    ) -> Any: ...


class Profile(Protocol):
    """A browser profile of one person, whose tabs share one storage."""

    messages: list[str]
    """The messages of the pages on the console; empty if they cannot be known."""

    async def open(self, url: str, ready: str = READY) -> Page:
        """Open a page in a tab of its own, and wait until the expression *ready* is true."""
        ...


NewProfile = Callable[[], Awaitable[Profile]]
Scenario = Callable[[NewProfile], Awaitable[None]]
Everywhere = Callable[[Scenario], Awaitable[None]]


class PlaywrightProfile:
    """A browser context of Playwright's."""

    def __init__(self, context: BrowserContext) -> None:
        context.set_default_timeout(TIMEOUT_MS)
        self._context = context
        self.messages: list[str] = []
        context.on("console", lambda message: self.messages.append(message.text))
        context.on("weberror", lambda error: self.messages.append(str(error.error)))

    @classmethod
    async def start(cls, browser: Browser, **options: Any) -> "PlaywrightProfile":
        """Open a fresh profile in a running browser; *options* are those of `new_context`."""
        return cls(await browser.new_context(**options))

    async def open(self, url: str, ready: str = READY) -> Page:
        """Open a page in a tab of its own, and wait until the expression *ready* is true."""
        page = await self._context.new_page()
        await page.goto(url)
        await page.wait_for_function(f"() => {ready}")
        return page

    async def close(self) -> None:
        """Close all its tabs."""
        await self._context.close()
