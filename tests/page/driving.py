"""What a person does in the page, and what they see of it."""

from .browsers import TIMEOUT, Page

TEXT = "你好 👩‍👩‍👧‍👦🇨🇳\n  two  spaces\n\nשלום עולם\tend "
"""Whatever may be torn: Chinese, an emoji family, a flag, newlines, runs of spaces, right to left."""

LAST = "article.reply:last-child"


async def use(page: Page, transport: str) -> None:
    """Choose a transport."""
    await page.select_option("#transport", transport)


async def send(page: Page, text: str = TEXT) -> None:
    """Write a message and send it with Enter; returns when its reply stands in the log."""
    before = await articles(page)
    await page.fill("#message", text)
    await page.press("#message", "Enter")
    await page.wait_for_function(
        "n => document.querySelectorAll('article').length > n", arg=before + 1
    )


async def state(page: Page, wanted: str, timeout: float = TIMEOUT) -> None:
    """Wait for the last reply to be in a state."""
    await there(page, f"{LAST}[data-state={wanted}]", timeout)


async def there(page: Page, selector: str, timeout: float = TIMEOUT) -> None:
    """Wait for an element."""
    await page.wait_for_function(
        "selector => document.querySelector(selector) !== null",
        arg=selector,
        timeout=timeout,
    )


async def grown(page: Page, length: int) -> None:
    """Wait until the last reply has so many UTF-16 units."""
    await page.wait_for_function(
        "([last, length]) => (document.querySelector(last + ' .text')"
        "?.textContent.length ?? 0) >= length",
        arg=[LAST, length],
    )


async def articles(page: Page) -> int:
    """How many messages and replies stand in the log."""
    count: int = await page.evaluate("document.querySelectorAll('article').length")
    return count


async def text(page: Page) -> str:
    """The text of the last reply."""
    shown: str = await page.evaluate(
        "last => document.querySelector(last + ' .text').textContent", LAST
    )
    return shown


async def seen(page: Page, selector: str) -> str:
    """What a reader sees of an element."""
    shown: str = await page.evaluate(
        "selector => document.querySelector(selector).innerText", selector
    )
    return shown


async def notes(page: Page) -> str:
    """What the page says of transports that it left."""
    return await seen(page, f"{LAST} .notes")
