"""The page in Chromium, Firefox and WebKit: everything that a person does, over every transport."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Route

from . import driving
from .browsers import READY, Everywhere, NewProfile
from .conftest import OpenPage, end_service, start_service
from .driving import LAST, TEXT

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "一段很长的文字，逐字出现。" * 12


async def test_every_transport_shows_the_exact_text(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        profile = await new_profile()
        page = await profile.open(f"http://127.0.0.1:{service}/")
        for transport in ["auto", "sse", "eventsource", "websocket", "text", "poll"]:
            await driving.use(page, transport)
            await driving.send(page)
            await driving.state(page, "done")
            assert await driving.text(page) == TEXT, transport
            assert "/s" in await driving.seen(page, "#using")
        await page.reload()
        await page.wait_for_function(f"() => {READY}")
        await page.wait_for_function(
            "() => document.querySelector('#transport').value === 'poll'"
        )
        await page.wait_for_function(
            "() => document.querySelectorAll('article').length === 12"
        )
        assert profile.messages == []

    await everywhere(scenario)


async def test_stop_and_try_again(everywhere: Everywhere, service: int) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        for how in ["button", "key"]:
            await driving.send(page, LONG)
            await driving.grown(page, 3)
            if how == "button":
                await page.click("#stop")
            else:
                await page.press("#message", "Escape")
            await driving.state(page, "stopped")
            stopped = await driving.text(page)
            assert LONG.startswith(stopped) and len(stopped) < len(LONG)
            assert await page.evaluate("document.activeElement.id") == "message"
        await page.click(f"{LAST} .retry")
        await driving.state(page, "done")
        assert await driving.text(page) == LONG
        assert await driving.seen(page, "#said") == "The reply is complete."

    await everywhere(scenario)


async def test_a_reload_in_mid_reply_goes_on(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        await driving.send(page, LONG)
        await driving.grown(page, 10)
        await page.reload()
        await driving.state(page, "done")
        assert await driving.text(page) == LONG
        assert await driving.articles(page) == 2

    await everywhere(scenario)


@pytest.mark.thorough
async def test_a_second_tab_and_a_stranger_follow_a_link(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        profile = await new_profile()
        page = await profile.open(f"http://127.0.0.1:{service}/")
        await driving.send(page, LONG)
        await driving.there(page, f"{LAST} .link[href]")
        link = await page.evaluate(
            "last => document.querySelector(last + ' .link').href", LAST
        )
        tab = await profile.open(link)
        stranger = await (await new_profile()).open(link)
        for reader in [page, tab, stranger]:
            await driving.state(reader, "done")
            assert await driving.text(reader) == LONG
        assert await driving.articles(tab) == 2
        assert await driving.articles(stranger) == 1

    await everywhere(scenario)


@pytest.mark.thorough
async def test_clear_is_seen_by_the_other_tab(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        profile = await new_profile()
        page = await profile.open(f"http://127.0.0.1:{service}/")
        tab = await profile.open(f"http://127.0.0.1:{service}/")
        await driving.send(page, "a")
        await driving.state(page, "done")
        await driving.state(tab, "done")
        await page.click("#clear")
        for reader in [tab, page]:
            await driving.there(reader, "body.empty")
            assert await driving.articles(reader) == 0

    await everywhere(scenario)


@pytest.mark.thorough
async def test_enter_that_ends_a_composition_never_sends(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        await page.fill("#message", "nihao")
        for init in [
            "isComposing: true, keyCode: 13",
            "isComposing: false, keyCode: 229",
        ]:
            await page.evaluate(
                "document.querySelector('#message').dispatchEvent(new KeyboardEvent("
                f"'keydown', {{key: 'Enter', bubbles: true, cancelable: true, {init}}}))"
            )
        await page.press("#message", "Shift+Enter")
        written = await page.evaluate("document.querySelector('#message').value")
        assert written == "nihao\n"
        assert await driving.articles(page) == 0
        await page.press("#message", "Enter")
        await driving.state(page, "done")
        assert await driving.text(page) == "nihao\n"

    await everywhere(scenario)


@pytest.mark.thorough
async def test_the_focus_is_not_lost_with_a_button_that_goes(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        for selector in ["#stop", ".link"]:
            await driving.send(page, LONG)
            await driving.there(page, f"{LAST} .link:not([hidden])")
            await page.evaluate(
                "selector => [...document.querySelectorAll(selector)].at(-1).focus()",
                selector,
            )
            await driving.state(page, "done")
            await page.wait_for_function(
                "() => document.activeElement.id === 'message'"
            )

    await everywhere(scenario)


@pytest.mark.thorough
async def test_the_field_is_as_high_as_what_is_written(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        size = (
            "(({clientHeight, scrollHeight}) => [clientHeight, scrollHeight])"
            "(document.querySelector('#message'))"
        )
        low, _ = await page.evaluate(size)
        await page.fill("#message", "one paragraph that goes on " * 12)
        high, all_of_it = await page.evaluate(size)
        assert low < high and high == all_of_it
        await page.fill("#message", "")
        assert (await page.evaluate(size))[0] == low

    await everywhere(scenario)


@pytest.mark.thorough
async def test_a_print_has_all_of_the_conversation(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.send(page, "line\n" * 70)
    await driving.state(page, "done")
    await page.emulate_media(media="print")
    printed, there, screen = await page.evaluate(
        "[document.documentElement.scrollHeight,"
        " document.querySelector('#log').scrollHeight, innerHeight]"
    )
    assert printed >= there > 2 * screen
    assert not await page.is_visible("#message")


@pytest.mark.thorough
async def test_a_long_word_stays_within_the_page(
    everywhere: Everywhere, service: int
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        page = await (await new_profile()).open(f"http://127.0.0.1:{service}/")
        word = "x" * 500
        await page.fill("#message", word)
        edges = (
            "['#send', '#clear', 'footer'].map((selector) =>"
            " document.querySelector(selector).getBoundingClientRect().right)"
            ".filter((right) => right > innerWidth)"
        )
        assert await page.evaluate(edges) == []
        await driving.send(page, word)
        await driving.state(page, "done")
        assert await page.evaluate(edges) == []

    await everywhere(scenario)


@pytest.mark.thorough
@pytest.mark.parametrize("locale", ["en", "zh-CN"])
async def test_the_head_fits_on_the_narrowest_phone(
    chromium: Browser, service: int, open_page: OpenPage, locale: str
) -> None:
    size = {"width": 320, "height": 568}
    url = f"http://127.0.0.1:{service}/"
    page = await open_page(chromium, url, locale=locale, viewport=size)
    high = await page.eval_on_selector("header", "header => header.offsetHeight")
    for transport in ["sse", "eventsource", "websocket", "text", "poll"]:
        await driving.use(page, transport)
        right, height = await page.evaluate(
            "[document.querySelector('#clear').getBoundingClientRect().right,"
            " document.querySelector('header').offsetHeight]"
        )
        assert right <= 320 and height == high <= 56, transport


@pytest.mark.thorough
async def test_nothing_is_open_while_nothing_streams(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    first = await open_page(chromium, f"http://127.0.0.1:{service}/")
    tabs = [first] + [await first.context.new_page() for _ in range(6)]
    for transport, tab in zip(
        ["sse", "eventsource", "text", "poll", "sse", "eventsource", "poll"],
        tabs,
        strict=True,
    ):
        await tab.goto(first.url)
        await tab.bring_to_front()
        await driving.use(tab, transport)
        await driving.send(tab, transport)
        await driving.state(tab, "done")
        assert await driving.text(tab) == transport


@pytest.fixture(scope="module")
def slow_service() -> Iterator[int]:
    """The port of a service slow enough for six windows at once."""
    process, port = start_service("--pace", "0.1")
    yield port
    end_service(process)


@pytest.mark.thorough
async def test_a_stop_works_though_six_windows_stream(
    everywhere: Everywhere, slow_service: int
) -> None:
    """A browser has six connections for one host: the request to stop must not wait for a seventh."""

    async def scenario(new_profile: NewProfile) -> None:
        profile = await new_profile()
        windows = [
            await profile.open(f"http://127.0.0.1:{slow_service}/") for _ in range(6)
        ]
        for window in windows:
            # Longer than all that is waited for: its own end would free a connection, too.
            await driving.send(window, TEXT * 30)
            for each in windows:
                # What is hidden reads nothing.
                await each.wait_for_function(
                    "last => document.visibilityState === 'hidden' ||"
                    " document.querySelector(last + '[data-state=running] .text')?.textContent.length > 5",
                    arg=LAST,
                )
            await window.click("#stop")
            await driving.state(window, "stopped", timeout=60_000)
            shown = await driving.text(window)
            assert (TEXT * 30).startswith(shown) and shown != TEXT * 30
            for each in windows:
                await each.wait_for_function(
                    "last => document.visibilityState === 'hidden' ||"
                    " document.querySelector(last + '[data-state=stopped]') !== null",
                    arg=LAST,
                )

    await everywhere(scenario)


async def test_the_conversation_goes_along(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await driving.send(page, "one")
    await driving.state(page, "done")
    async with page.expect_request("**/api/chat?view=parts&render=html") as asked:
        await driving.send(page, "two")
    request = await asked.value
    assert request.post_data_json == {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": "two"},
        ]
    }
    assert len(request.headers["idempotency-key"]) == 32


@pytest.mark.thorough
async def test_replies_that_have_ended_are_not_touched_any_more(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    for _ in range(2):
        await driving.send(page)
        await driving.state(page, "done")
        await page.wait_for_selector(f"{LAST} .rendered:not([hidden])")
    await page.evaluate(
        "window.touched = 0;"
        "new MutationObserver((records) => touched += records.length)"
        ".observe(document.querySelector('article.reply'),"
        " {subtree: true, childList: true, attributes: true, characterData: true})"
    )
    await driving.send(page, LONG)
    await driving.state(page, "done")
    assert await page.evaluate("touched") == 0


async def test_copying_a_selection_gives_the_text_as_it_is(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    message = ("x" * 700 + "\n\n") * 2
    await page.evaluate(
        "import('/' + document.querySelector('script[src]').getAttribute('src')"
        ".replace('main.js', 'growing-text.js')).then(({GrowingText}) => {"
        " const element = document.createElement('div'); element.className = 'text';"
        " document.querySelector('#log').append(element);"
        " document.body.classList.remove('empty');"
        f" new GrowingText(element).append({message!r});"
        " getSelection().selectAllChildren(element);"
        " document.addEventListener('copy', (event) => {"
        "  window.copied = event.clipboardData.getData('text/plain');"
        " });})"
    )
    await page.evaluate("document.execCommand('copy')")
    assert await page.evaluate("window.copied") == message


async def test_offline_says_so_and_a_message_waits(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    await page.context.set_offline(True)
    await driving.send(page, "later")
    await page.wait_for_function(
        "() => document.querySelector('#notice').textContent.includes('offline')"
    )
    await page.context.set_offline(False)
    await driving.state(page, "done")
    assert await driving.text(page) == "later"


@pytest.mark.thorough
async def test_a_limit_counts_down(
    chromium: Browser, service: int, open_page: OpenPage
) -> None:
    page = await open_page(chromium, f"http://127.0.0.1:{service}/")
    refused: list[str] = []

    async def limit(route: Route) -> None:
        if refused:
            await route.continue_()
            return
        refused.append(route.request.headers["idempotency-key"])
        await route.fulfill(
            status=429,
            headers={"Retry-After": "2"},
            content_type="application/problem+json",
            body='{"type":"/problems/too-many-requests","title":"x","status":429}',
        )

    await page.route("**/api/chat?view=parts&render=html", limit)
    async with page.expect_request(
        lambda request: (
            bool(refused) and request.url.endswith("/api/chat?view=parts&render=html")
        )
    ) as again:
        await driving.send(page, "hi")
        for seconds in (2, 1):
            await page.wait_for_function(
                "n => document.querySelector('.waiting.card')?.textContent"
                ".includes(`again in ${n} s`)",
                arg=seconds,
            )
    assert (await again.value).headers["idempotency-key"] == refused[0]
    await driving.state(page, "done")
