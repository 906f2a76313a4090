"""What a person does in the page, and what they see of it."""

from playwright.async_api import Page

TEXT = "你好 👩‍👩‍👧‍👦🇨🇳\n  two  spaces\n\nשלום עולם\tend "
"""Whatever may be torn: Chinese, an emoji family, a flag, newlines, runs of spaces, right to left."""

LAST = "article.reply:last-child"


async def use(page: Page, transport: str) -> None:
    """Choose a transport."""
    await page.select_option("#transport", transport)


async def send(page: Page, text: str = TEXT) -> None:
    """Write a message and send it with Enter; returns when its reply stands in the log."""
    before = await page.locator("article").count()
    await page.fill("#message", text)
    await page.press("#message", "Enter")
    await page.wait_for_function(
        "n => document.querySelectorAll('article').length > n", arg=before + 1
    )


async def state(page: Page, wanted: str, timeout: float = 15_000) -> None:
    """Wait for the last reply to be in a state."""
    await page.wait_for_selector(f"{LAST}[data-state={wanted}]", timeout=timeout)


async def grown(page: Page, length: int) -> None:
    """Wait until the last reply has so many UTF-16 units."""
    await page.wait_for_function(
        "([last, length]) => (document.querySelector(last + ' .text')"
        "?.textContent.length ?? 0) >= length",
        arg=[LAST, length],
    )


async def text(page: Page) -> str:
    """The text of the last reply."""
    shown: str = await page.eval_on_selector(f"{LAST} .text", "e => e.textContent")
    return shown


async def notes(page: Page) -> str:
    """What the page says of transports that it left."""
    return await page.inner_text(f"{LAST} .notes")
