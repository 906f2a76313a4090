"""Browsers driven over WebDriver: WebKit, and any browser whose window has to be really hidden.

With Playwright every page is visible at all times; a window that WebDriver minimises is
hidden as a reader hides it.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import glob
from typing import Any, TypeVar

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.ui import Select, WebDriverWait
from urllib3.exceptions import HTTPError

from tests.conftest import require

from .browsers import CHROMIUM_FLAGS, READY, TIMEOUT_MS

KEYS = {
    "Enter": Keys.ENTER,
    "Escape": Keys.ESCAPE,
    "Shift+Enter": Keys.SHIFT + Keys.ENTER,
}
POLL_S = 0.05
"""Seconds between two evaluations of a condition that is waited for."""

COMMAND_TIMEOUT_S = 30
"""The seconds that a driver may take for one command."""
MAX_STARTS = 3
"""The most attempts to start WebKit: at times its browser does not come up, and its driver waits for ever."""

T = TypeVar("T")


@contextmanager
def virtual_screen() -> Iterator[str]:
    """Run an X server without a screen, and yield the name of its display."""
    require("Xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def start_webkit(display: str, *arguments: str) -> WebDriver:
    """Start WebKitGTK's small browser in a fresh profile, with more of its *arguments*."""
    require("WebKitWebDriver")
    options = webdriver.WebKitGTKOptions()
    options.accept_insecure_certs = True
    for argument in ("--automation", *arguments):
        options.add_argument(argument)
    options.binary_location = _mini_browser()
    for _ in range(MAX_STARTS - 1):
        with suppress(HTTPError):
            return _WebKit(options, display)
    return _WebKit(options, display)


class _WebKit(webdriver.WebKitGTK):
    """A WebKit whose driver has a time limit; Selenium's own class waits for ever."""

    def __init__(self, options: webdriver.WebKitGTKOptions, display: str) -> None:
        self.options = options
        self.service = webdriver.WebKitGTKService(
            executable_path=shutil.which("WebKitWebDriver"),
            env={**os.environ, "DISPLAY": display},
        )
        self.service.start()
        limited = ClientConfig(self.service.service_url, timeout=COMMAND_TIMEOUT_S)
        try:
            webdriver.Remote.__init__(
                self, RemoteConnection(client_config=limited), options=options
            )
        except BaseException:
            self.service.process.kill()
            self.service.process.wait()
            self.service.stop()
            raise


def _mini_browser() -> str:
    found = glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser") + glob(
        "/usr/libexec/webkit2gtk-4.*/MiniBrowser"
    )
    if not found:
        require("MiniBrowser")
    return found[-1]


def start_chromium() -> WebDriver:
    """Start Chromium in a fresh profile."""
    require("chromium", "chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ["--headless=new", *CHROMIUM_FLAGS]:
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class WebDriverProfile:
    """A browser of its own, with a profile of its own.

    It does one thing at a time, in a thread, so its windows take turns.
    """

    def __init__(self, driver: WebDriver) -> None:
        self._driver = driver
        self._turn = asyncio.Lock()
        self._used = False
        self.messages: list[str] = []
        """Always empty: WebDriver has no access to the console."""

    @classmethod
    async def start(cls, start: Callable[[], WebDriver]) -> "WebDriverProfile":
        """Start a browser."""
        return cls(await asyncio.to_thread(start))

    async def close(self) -> None:
        """End the browser."""
        async with self._turn:
            await asyncio.to_thread(self._driver.quit)

    async def open(self, url: str, ready: str = READY) -> "WebDriverPage":
        """Open a page in a window beside those that are open; see `Profile.open`."""
        if self._used:
            async with self._turn:
                await asyncio.to_thread(self._driver.switch_to.new_window, "window")
        self._used = True
        page = WebDriverPage(self, self._driver.current_window_handle)
        await page.goto(url)
        await page.wait_for_function(f"() => {ready}")
        return page

    async def act(self, window: str, act: Callable[[WebDriver], T]) -> T:
        """Do something in a window."""

        def there() -> T:
            if self._driver.current_window_handle != window:
                self._driver.switch_to.window(window)
            return act(self._driver)

        async with self._turn:
            return await asyncio.to_thread(there)


class WebDriverPage:
    """A window, with those methods of Playwright's page that the scenarios use."""

    def __init__(self, profile: WebDriverProfile, window: str) -> None:
        self._profile = profile
        self._window = window

    async def _act(self, act: Callable[[WebDriver], T]) -> T:
        return await self._profile.act(self._window, act)

    async def goto(self, url: str) -> None:
        """Load an address."""
        await self._act(lambda driver: driver.get(url))

    async def go_back(self) -> None:
        """Go back to the page before."""
        await self._act(lambda driver: driver.back())

    async def reload(self) -> None:
        """Load the page again."""
        await self._act(lambda driver: driver.refresh())

    async def fill(self, selector: str, value: str) -> None:
        """Set the value of a field, by a script: a driver's keys cannot type emoji."""
        await self.evaluate(
            "([selector, value]) => { const field = document.querySelector(selector);"
            " field.value = value;"
            " field.dispatchEvent(new Event('input', {bubbles: true})); }",
            [selector, value],
        )

    async def press(self, selector: str, key: str) -> None:
        """Press a key on an element."""
        await self._act(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector).send_keys(
                KEYS[key]
            )
        )

    async def click(self, selector: str) -> None:
        """Click on an element once it can be clicked."""
        await self._act(
            lambda driver: (
                WebDriverWait(driver, TIMEOUT_MS / 1000, POLL_S)
                .until(element_to_be_clickable((By.CSS_SELECTOR, selector)))
                .click()
            )
        )

    async def select_option(self, selector: str, value: str) -> None:
        """Choose from a list."""
        await self._act(
            lambda driver: Select(
                driver.find_element(By.CSS_SELECTOR, selector)
            ).select_by_value(value)
        )

    async def evaluate(self, expression: str, arg: Any = None) -> Any:
        """Return the value of an expression or, if it is a function, what it returns for *arg*."""
        return await self._act(
            lambda driver: driver.execute_script(
                f"const value = ({expression});"
                "return typeof value === 'function' ? value(arguments[0]) : value",
                arg,
            )
        )

    async def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float = TIMEOUT_MS
    ) -> None:
        """Wait until `evaluate` returns something true.

        *timeout* is in milliseconds; after it `TimeoutError` is raised.
        """
        async with asyncio.timeout(timeout / 1000):
            while not await self.evaluate(expression, arg):
                await asyncio.sleep(POLL_S)

    async def hide(self) -> None:
        """Minimise the window."""
        await self._act(lambda driver: driver.minimize_window())

    async def show(self) -> None:
        """Restore the window."""
        await self._act(lambda driver: driver.set_window_rect(0, 0, 900, 700))
