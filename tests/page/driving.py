"""Actions of a person on the page, and what it shows them."""

from .browsers import TIMEOUT_MS, Page

TEXT = "你好 👩‍👩‍👧‍👦🇨🇳\n  two  spaces\n\nשלום עולם\tend "
"""Text that is easily torn: Chinese, an emoji family, a flag, newlines, runs of spaces, right to left."""

LAST = "article.reply:last-child"


async def use(page: Page, transport: str) -> None:
    """Choose a transport."""
    await page.select_option("#transport", transport)


async def send(page: Page, text: str = TEXT) -> None:
    """Write a message, send it with Enter, and wait until its reply is in the log."""
    before = await articles(page)
    await page.fill("#message", text)
    await page.press("#message", "Enter")
    await page.wait_for_function(
        "n => document.querySelectorAll('article').length > n", arg=before + 1
    )


async def state(page: Page, wanted: str, timeout: float = TIMEOUT_MS) -> None:
    """Wait until the last reply is in a state."""
    await there(page, f"{LAST}[data-state={wanted}]", timeout)


async def there(page: Page, selector: str, timeout: float = TIMEOUT_MS) -> None:
    """Wait for an element."""
    await page.wait_for_function(
        "selector => document.querySelector(selector) !== null",
        arg=selector,
        timeout=timeout,
    )


async def grown(page: Page, length: int) -> None:
    """Wait until the last reply has at least *length* UTF-16 units."""
    await page.wait_for_function(
        "([last, length]) => (document.querySelector(last + ' .text')"
        "?.textContent.length ?? 0) >= length",
        arg=[LAST, length],
    )


async def articles(page: Page) -> int:
    """Return the number of messages and replies in the log."""
    count: int = await page.evaluate("document.querySelectorAll('article').length")
    return count


async def text(page: Page) -> str:
    """Return the text of the last reply."""
    shown: str = await page.evaluate(
        "last => document.querySelector(last + ' .text').textContent", LAST
    )
    return shown


async def seen(page: Page, selector: str) -> str:
    """Return the visible text of an element."""
    shown: str = await page.evaluate(
        "selector => document.querySelector(selector).innerText", selector
    )
    return shown


async def notes(page: Page) -> str:
    """Return what the page says, folded, of the transports that it left for the last reply."""
    shown: str = await page.evaluate(
        "last => document.querySelector(last + ' .notes').textContent", LAST
    )
    return shown
