"""The page in WebKit, driven through WebKitGTK's own driver on a virtual screen."""

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.conftest import require

from .driving import LAST, TEXT

pytestmark = pytest.mark.thorough

LONG = "一段很长的文字，逐字出现。" * 12


@pytest.fixture(scope="module")
def webkit() -> Iterator[webdriver.WebKitGTK]:
    require("Xvfb", "WebKitWebDriver")
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        display = f":{numbers.readline().strip()}"
    try:
        driver = _start(display)
        yield driver
        driver.quit()
    finally:
        screen.terminate()
        screen.wait()


def _start(display: str) -> webdriver.WebKitGTK:
    options = webdriver.WebKitGTKOptions()
    options.add_argument("--automation")
    options.binary_location = _mini_browser()
    service = webdriver.WebKitGTKService(
        executable_path=shutil.which("WebKitWebDriver"),
        env={**os.environ, "DISPLAY": display},
    )
    with warnings.catch_warnings():
        # Selenium's own use of what it has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return webdriver.WebKitGTK(options=options, service=service)


def _mini_browser() -> str:
    from glob import glob

    found = glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser") + glob(
        "/usr/libexec/webkit2gtk-4.*/MiniBrowser"
    )
    if not found:
        require("MiniBrowser")
    return found[-1]


def _until(driver: webdriver.WebKitGTK, script: str) -> None:
    done: Callable[[webdriver.WebKitGTK], object] = lambda driver: (
        driver.execute_script(f"return {script}")
    )
    WebDriverWait(driver, 20, 0.05).until(done)


def _send(driver: webdriver.WebKitGTK, text: str) -> None:
    count = driver.execute_script("return document.querySelectorAll('article').length")
    driver.execute_script(
        "const field = document.querySelector('#message'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )
    driver.find_element(By.ID, "message").send_keys(Keys.ENTER)
    _until(driver, f"document.querySelectorAll('article').length > {count + 1}")


def _state(driver: webdriver.WebKitGTK, state: str) -> None:
    _until(driver, f"document.querySelector('{LAST}[data-state={state}]')")


def _text(driver: webdriver.WebKitGTK) -> str:
    shown: str = driver.execute_script(
        f"return document.querySelector('{LAST} .text').textContent"
    )
    return shown


def test_the_page_in_webkit(webkit: webdriver.WebKitGTK, service: int) -> None:
    webkit.get(f"http://127.0.0.1:{service}/")
    _until(webkit, "'ready' in document.documentElement.dataset")
    for transport in ["auto", "sse", "eventsource", "websocket", "text", "poll"]:
        Select(webkit.find_element(By.ID, "transport")).select_by_value(transport)
        _send(webkit, TEXT)
        _state(webkit, "done")
        assert _text(webkit) == TEXT, transport
    Select(webkit.find_element(By.ID, "transport")).select_by_value("auto")
    # Stop, and try again.
    _send(webkit, LONG)
    _until(webkit, f"document.querySelector('{LAST} .text').textContent.length > 3")
    webkit.find_element(By.ID, "message").send_keys(Keys.ESCAPE)
    _state(webkit, "stopped")
    assert LONG.startswith(_text(webkit)) and _text(webkit) != LONG
    webkit.find_element(By.CSS_SELECTOR, f"{LAST} .retry").click()
    # Reload in mid-reply.
    _until(webkit, f"document.querySelector('{LAST}[data-state=running] .text')")
    _until(webkit, f"document.querySelector('{LAST} .text').textContent.length > 5")
    webkit.refresh()
    _state(webkit, "done")
    assert _text(webkit) == LONG
    # Enter that ends a composition.
    webkit.execute_script(
        "const field = document.querySelector('#message'); field.value = 'ni';"
        "field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter',"
        " bubbles: true, cancelable: true, keyCode: 229}))"
    )
    assert webkit.find_element(By.ID, "message").get_attribute("value") == "ni"
