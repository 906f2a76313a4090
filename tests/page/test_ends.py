"""How a reply ends on the page, what it waits for before, and the one action that helps.

Most ends are those of a real service before a scripted model's server.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Browser, Page

from chatsvc.model import Finish, Piece, Reasoning, ToolCall, ToolResult
from chatsvc.settings import Settings
from tests.service.parts import Pieces
from tests.service.running import inside

from . import driving, proxies
from .browsers import READY, Everywhere, NewProfile
from .conftest import OpenPage, Watched, end_service, start_service
from .driving import LAST
from .ends import WORDS, ending
from .proxies import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

HALF = "The first half"
"""The text of a reply that is not whole."""


class End(NamedTuple):
    """What the page shows of an end: the reply's state, the sentence in English and in Chinese, and the button."""

    state: str
    english: str
    chinese: str
    button: str = ""
    words: str = ""
    code: str = ""


ENDS = {
    "whole": End("done", "", ""),
    "length": End(
        "done",
        "The reply was cut here: it had reached its greatest length.",
        "回复在此截断：已达到长度上限。",
        "Continue",
    ),
    "length, nothing": End(
        "done",
        "The reply reached its greatest length before it had any text.",
        "回复尚无文字就已达到长度上限。",
        "Try again",
    ),
    "filter": End(
        "done",
        "The reply was cut here by a content filter.",
        "回复在此被内容过滤器截断。",
        "Change the question",
    ),
    "filter, nothing": End(
        "done",
        "A content filter held the reply back.",
        "回复被内容过滤器拦下。",
        "Change the question",
    ),
    "nothing": End(
        "done",
        "Nothing came: the model gave no answer.",
        "没有收到内容：模型没有作答。",
        "Try again",
    ),
    "busy": End(
        "failed",
        "The AI is busy. Wait a moment, then try again.",
        "AI 繁忙。请稍候再试。",
        "Try again",
        code="backend-failed · busy",
    ),
    "refused": End(
        "failed",
        "The AI did not accept what was sent.",
        "AI 未接受所发送的内容。",
        "Change the question",
        words=WORDS,
        code="backend-failed · refused",
    ),
    "misconfigured": End(
        "failed",
        "The AI can't be used as this service is set up. Tell whoever runs it: trying again won't help.",
        "按目前的设置，本服务无法使用 AI。请告知服务的管理者：重试没有用。",
        code="backend-failed · misconfigured",
    ),
    "broken": End(
        "failed",
        "The AI failed before its reply was complete. Another attempt may work.",
        "AI 在回复完成前出错，再试一次或许可行。",
        "Try again",
        code="backend-failed · broken",
    ),
}
"""The ends by the question that brings them (`tests/page/ends.py`)."""

CARD = f"{LAST} .end"


async def button(page: Page) -> str:
    """Return what the last card offers; empty if it offers nothing."""
    shown: list[str] = await page.evaluate(
        "last => [...document.querySelectorAll(last + ' .offer > *')]"
        ".filter((each) => each.checkVisibility()).map((each) => each.innerText)",
        LAST,
    )
    return " ".join(shown)


async def waiting(page: Any, said: str) -> None:
    """Wait until the page says what the reply waits for."""
    await page.wait_for_function(
        "said => document.querySelector('.waiting')?.textContent.includes(said)",
        arg=said,
    )


async def counted(page: Any, selector: str, said: str, least: int) -> None:
    """Wait until an element says something, and behind it at least so many seconds."""
    await page.wait_for_function(
        "([selector, said, least]) => {"
        " const shown = document.querySelector(selector)?.textContent ?? '';"
        " return shown.startsWith(said) && Number(shown.slice(said.length).match(/^ ([0-9]+) s$/)?.[1]) >= least; }",
        arg=[selector, said, least],
    )


SILENT = "Waiting for the model …"

# ---------------------------------------------------------------------- ends


async def test_each_end_has_one_card_with_the_one_action_that_helps(
    chromium: Browser, open_page: OpenPage
) -> None:
    async with ending() as (chat, _):
        for locale in ["en", "zh-CN"]:
            page = await open_page(chromium, chat.url, locale=locale)
            watched = Watched(page)
            for question, end in ENDS.items():
                await driving.send(page, question)
                await driving.state(page, end.state)
                english = locale == "en"
                sentence = end.english if english else end.chinese
                assert await driving.seen(page, f"{LAST} .problem") == sentence
                assert await page.is_visible(CARD) == bool(sentence), question
                if english:
                    assert await button(page) == end.button, question
                else:
                    assert bool(await button(page)) == bool(end.button), question
                shown = await page.text_content(f"{LAST} .words") or ""
                assert shown.endswith(end.words) and bool(shown) == bool(end.words)
                code = await page.text_content(f"{LAST} .problem-code")
                assert code == end.code, question
                # What the card offers stands nowhere else.
                again = await page.is_visible(f"{LAST} .actions .retry")
                assert again == (question == "whole"), question
                # A screen reader says what the card says.
                if sentence:
                    assert await driving.seen(page, "#said") == sentence
            assert "sk-secret" not in await page.content()
            # Cards that the conversation has left behind offer nothing.
            assert await page.locator(".act:visible").count() == 1
            assert watched.messages == []


async def test_details_unfold_and_hold_the_service_s_words(
    everywhere: Everywhere,
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        async with ending() as (chat, _):
            page = await (await new_profile()).open(chat.url)
            await driving.send(page, "broken")
            await driving.state(page, "failed")
            height = f"document.querySelector('{LAST} .detail').offsetHeight"
            folded = f"!document.querySelector('{LAST} details').open"
            assert await page.evaluate(folded)
            await page.press(f"{CARD} summary", "Enter")
            await page.wait_for_function(f"!({folded}) && {height} > 0")
            assert "broke off" in await driving.seen(page, f"{LAST} .detail")
            assert await driving.text(page) == HALF

    await everywhere(scenario)


async def test_continue_asks_a_question_that_is_seen(everywhere: Everywhere) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        async with ending() as (chat, upstream):
            page = await (await new_profile()).open(chat.url)
            await driving.send(page, "length")
            await driving.state(page, "done")
            await page.fill("#message", "a draft")
            await page.press(f"{CARD} .continue", "Enter")
            await page.wait_for_function(
                "() => document.querySelectorAll('article').length === 4"
            )
            await driving.state(page, "done")
            assert await driving.text(page) == "All of it."
            assert [message["content"] for message in last_messages(upstream)] == [
                "length",
                HALF,
                "Continue where you stopped.",
            ]
            asked = await driving.seen(page, "article.message:nth-last-child(2) .text")
            assert asked == "Continue where you stopped."
            draft = await page.evaluate("document.querySelector('#message').value")
            assert draft == "a draft"

    await everywhere(scenario)


def last_messages(upstream: Any) -> list[dict[str, Any]]:
    """Return the messages that the model's server was sent last."""
    found: list[dict[str, Any]] = upstream.requests[-1]["messages"]
    return found


async def test_a_question_is_put_back_to_be_changed_before_what_is_written(
    everywhere: Everywhere,
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        async with ending() as (chat, _):
            page = await (await new_profile()).open(chat.url)
            written = "document.querySelector('#message').value"
            for draft, wanted in [("", "refused"), ("more", "refused\n\nmore")]:
                await driving.send(page, "refused")
                await driving.state(page, "failed")
                await page.fill("#message", draft)
                await page.click(f"{CARD} .change")
                assert await page.evaluate(written) == wanted
                assert await page.evaluate("document.activeElement.id") == "message"
            # It is kept like any draft.
            await page.reload()
            await page.wait_for_function(f"() => {READY}")
            assert await page.evaluate(written) == "refused\n\nmore"

    await everywhere(scenario)


@pytest.mark.sampled
@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_service_that_restarts_leaves_what_had_arrived(
    everywhere: Everywhere, transport: str
) -> None:
    """It goes down as after SIGTERM; what is asked again is asked of the next one."""

    async def scenario(new_profile: NewProfile) -> None:
        port = 0
        async with Proxy(0, lambda head: proxies.pass_on, lambda head: port) as proxy:
            never = asyncio.Event()
            backend = Pieces(HALF, never)
            async with inside(Settings(pace=0), backend=backend) as chat:
                port = chat.port
                page = await (await new_profile()).open(proxy.url)
                await driving.use(page, transport)
                await driving.send(page, "hi")
                await driving.grown(page, 5)
            await driving.state(page, "failed")
            sentence = await driving.seen(page, f"{LAST} .problem")
            assert sentence == (
                "The service restarted, and the reply broke off here. What had arrived stays."
            )
            there = await driving.text(page)
            assert there and HALF.startswith(there)
            whole = Pieces("All of it.", Finish("stop"))
            async with inside(Settings(pace=0), backend=whole) as chat:
                port = chat.port
                await page.click(f"{CARD} .ask")
                await driving.state(page, "done")
                assert await driving.text(page) == "All of it."
                assert await driving.articles(page) == 4
                kept = await page.evaluate(
                    "document.querySelector('article.reply .text').textContent"
                )
                assert kept == there

    await everywhere(scenario)


@pytest.mark.thorough
async def test_a_reply_that_a_killed_service_took_along_is_asked_for_again(
    chromium: Browser, open_page: OpenPage
) -> None:
    process, port = start_service("--pace", "0.05")
    try:
        async with Proxy(0, lambda head: proxies.pass_on, lambda head: port) as proxy:
            page = await open_page(chromium, proxy.url)
            message = "一段很长的文字。" * 20
            await driving.send(page, message)
            await driving.grown(page, 3)
            process.kill()
            process.communicate()
            process, port = start_service("--pace", "0")
            await driving.state(page, "failed")
            there = await driving.text(page)
            assert there and message.startswith(there)
            assert await driving.seen(page, f"{LAST} .problem") == (
                "The service no longer has this reply: it may have restarted."
            )
            assert await button(page) == "Ask again"
            await page.click(f"{CARD} .ask")
            await driving.state(page, "done")
            assert await driving.text(page) == message
            assert await page.text_content("article.reply .text") == there
    finally:
        end_service(process)


@pytest.mark.sampled
@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_limit_counts_down_in_a_card_and_then_tries(
    chromium: Browser, open_page: OpenPage, transport: str
) -> None:
    settings = Settings(pace=0, max_per_client=1)
    go = asyncio.Event()
    async with inside(settings, backend=Pieces(HALF, go, Finish("stop"))) as chat:
        other = await chat.session.post(f"{chat.url}/api/chat", json={"message": "hi"})
        page = await open_page(chromium, chat.url)
        await note_what_is_said(page)
        await driving.use(page, transport)
        await driving.send(page, "hi")
        await page.wait_for_selector(".waiting.card")
        await waiting(page, "Too many requests. Trying again in 1 s.")
        go.set()
        await driving.state(page, "done")
        assert await driving.text(page) == HALF
        assert await page.locator(".waiting").count() == 0
        said = await page.evaluate("said")
        assert sum("Too many requests" in each for each in said) == 1
        other.close()


async def note_what_is_said(page: Page) -> None:
    """Have the page note all that a screen reader says, in `said`."""
    await page.evaluate(
        "window.said = [];"
        "new MutationObserver(() => said.push(document.querySelector('#said').textContent))"
        ".observe(document.querySelector('#said'), {childList: true, characterData: true, subtree: true})"
    )


# ---------------------------------------------------------------------- waiting


async def test_silence_is_told_with_its_seconds_and_nothing_moves(
    everywhere: Everywhere,
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        first, rest = asyncio.Event(), asyncio.Event()
        backend = Pieces(first, "one two", rest, " three", Finish("stop"))
        async with inside(Settings(pace=0), backend=backend) as chat:
            page = await (await new_profile()).open(chat.url)
            await driving.send(page, "hi")
            places = (
                "['.rendered', '.text', '.actions'].map((each) => document.querySelector("
                f"'{LAST} ' + each).getBoundingClientRect().top)"
            )
            before = await page.evaluate(places)
            await counted(page, ".waiting", SILENT, 1)
            await counted(page, ".waiting", SILENT, 2)
            assert await page.evaluate(places) == before
            first.set()
            await driving.grown(page, 3)
            await page.wait_for_function("!document.querySelector('.waiting')")
            before = await page.evaluate(places)
            await counted(page, ".waiting", SILENT, 1)
            assert await page.evaluate(places) == before
            # What is on the way does not look like an end.
            assert await page.evaluate(f"document.querySelector('{CARD}').hidden")
            rest.set()
            await driving.state(page, "done")
            assert await page.evaluate("!document.querySelector('.waiting')")
            assert await driving.text(page) == "one two three"

    await everywhere(scenario)


async def test_a_screen_reader_says_once_that_the_model_is_silent(
    chromium: Browser, open_page: OpenPage
) -> None:
    go, rest = asyncio.Event(), asyncio.Event()
    backend = Pieces(go, HALF, rest, Finish("stop"))
    async with inside(Settings(pace=0), backend=backend) as chat:
        page = await open_page(chromium, chat.url)
        await page.clock.install()
        await page.reload()
        await page.wait_for_selector("html[data-ready]")
        await note_what_is_said(page)
        await driving.send(page, "hi")
        await page.wait_for_selector(f"{LAST}[data-state=running]")
        await page.clock.run_for(70_000)
        await waiting(page, "1 min")
        go.set()
        await driving.grown(page, 5)
        await page.clock.run_for(9000)
        await waiting(page, SILENT)
        rest.set()
        await page.clock.run_for(1000)
        await driving.state(page, "done")
        said = await page.evaluate("said")
        assert said == [
            "Waiting for the model.",
            "The reply has started.",
            "The reply is complete.",
        ]
        # Nothing else is a live region.
        live = "document.querySelector('.reply').closest('[aria-live]').ariaLive"
        assert await page.evaluate(live) == "off"


async def test_a_tool_that_runs_counts_in_its_own_line(
    chromium: Browser, open_page: OpenPage
) -> None:
    used, end = asyncio.Event(), asyncio.Event()
    script: list[Piece | asyncio.Event] = [
        Reasoning("hm"),
        ToolCall("1", "search", "{}"),
        used,
        ToolResult("1", 5),
        end,
    ]
    async with inside(Settings(pace=0), backend=Pieces(*script, "text")) as chat:
        page = await open_page(chromium, chat.url)
        await driving.send(page, "hi")
        await counted(page, ".tool_call summary", "Using search…", 2)
        assert await page.locator(".waiting").count() == 0
        used.set()
        await counted(page, ".waiting", SILENT, 1)
        assert await page.inner_text(".tool_call summary") == "Used search"
        end.set()
        await driving.state(page, "done")


@pytest.mark.thorough
async def test_a_connection_that_breaks_is_told_where_the_text_goes_on(
    chromium: Browser, open_page: OpenPage
) -> None:
    never = asyncio.Event()
    cut = False

    def choose(head: bytes) -> proxies.Pipe:
        return proxies.drop if cut else proxies.pass_on

    async with (
        inside(Settings(pace=0), backend=Pieces(HALF, never)) as chat,
        Proxy(chat.port, choose) as proxy,
    ):
        page = await open_page(chromium, proxy.url)
        await driving.send(page, "hi")
        await driving.grown(page, 5)
        cut = True
        chat.cut()
        await waiting(page, "Connection interrupted. Trying again…")
        assert await page.inner_text("#notice") == ""
        cut = False
        never.set()
        await driving.state(page, "done")


# ---------------------------------------------------------------------- everybody


async def all_ends(page: Page) -> None:
    """Bring about every end, one below the other, and unfold all details."""
    for question, end in ENDS.items():
        await driving.send(page, question)
        await driving.state(page, end.state)
    await page.evaluate(
        "document.querySelectorAll('.end details').forEach((each) => (each.open = true))"
    )


@pytest.mark.sampled
@pytest.mark.parametrize(("locale", "scheme"), [("en", "light"), ("zh-CN", "dark")])
async def test_cards_fit_the_narrowest_phone_and_are_large_enough_to_touch(
    chromium: Browser, open_page: OpenPage, locale: str, scheme: str
) -> None:
    options: dict[str, Any] = {
        "locale": locale,
        "color_scheme": scheme,
        "has_touch": True,
        "is_mobile": True,
        "viewport": {"width": 320, "height": 568},
    }
    async with ending() as (chat, _):
        page = await open_page(chromium, chat.url, **options)
        await all_ends(page)
        wide = (
            "[...document.querySelectorAll('#log *')].filter((each) => each.offsetParent"
            " && !each.matches('.unseen')"
            " && each.getBoundingClientRect().right > innerWidth).map((each) => each.className)"
        )
        assert await page.evaluate(wide) == []
        small = (
            "[...document.querySelectorAll('.end :is(button, a, summary)')]"
            ".filter((each) => each.checkVisibility())"
            ".map((each) => each.offsetHeight).filter((height) => height < 44)"
        )
        assert await page.evaluate(small) == []


@pytest.mark.thorough
async def test_cards_have_borders_in_forced_colours_and_no_buttons_in_print(
    chromium: Browser, open_page: OpenPage
) -> None:
    async with ending() as (chat, _):
        page = await open_page(chromium, chat.url, forced_colors="active")
        await driving.send(page, "broken")
        await driving.state(page, "failed")
        for selector in [CARD, f"{CARD} .act"]:
            border = "each => getComputedStyle(each).borderTopWidth"
            assert await page.eval_on_selector(selector, border) == "1px"
        await page.emulate_media(media="print", forced_colors="none")
        assert await page.is_visible(f"{CARD} .problem")
        for selector in [".act", "summary"]:
            assert not await page.is_visible(f"{CARD} {selector}")


@pytest.mark.thorough
async def test_axe_finds_nothing_in_the_cards(
    chromium: Browser, open_page: OpenPage, npm: Path
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    async with ending() as (chat, _):
        for scheme, locale, width in [("light", "en", 1280), ("dark", "zh-CN", 390)]:
            page = await open_page(
                chromium,
                chat.url,
                color_scheme=scheme,
                locale=locale,
                reduced_motion="reduce",
                viewport={"width": width, "height": 800},
            )
            await page.evaluate(axe)
            await all_ends(page)
            await driving.send(page, "silent")
            await page.wait_for_selector(".waiting")
            found = await page.evaluate("axe.run().then(({violations}) => violations)")
            assert found == [], json.dumps(found, indent=1)[:3000]
            await page.click("#stop")
            with suppress(TimeoutError):
                await driving.state(page, "stopped")
