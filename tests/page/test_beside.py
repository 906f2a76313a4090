"""What stands beside a reply's text on the page: thoughts, calls, sources and files, and how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from chatsvc.model import (
    Data,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.settings import Settings
from tests.service.parts import Pieces
from tests.service.running import Inside, inside

from . import driving, proxies
from .browsers import Everywhere, NewProfile, Page
from .conftest import OpenPage, Watched, end_service
from .driving import LAST
from .proxies import Proxy
from .test_quality import stored

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAA"
    "DUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""An image of one pixel."""

ALL: list[Piece] = [
    Reasoning("Let me see.\nI "),
    Reasoning("search for it."),
    ToolCall("c1", "search", '{"q":"多",'),
    ToolCall("c1", arguments='"n":12345678901234567890}'),
    Data("status", "Searching", id="s"),
    Data("status", "Found 2 pages", id="s"),
    ToolResult("c1", [{"title": "A"}]),
    ToolCall("c2", "open", "{}"),
    ToolResult("c2", "no such page", error=True),
    "It is **so** 👨‍👩‍👧.\n",
    Source("https://one.example/a", "One"),
    Source("https://two.example/"),
    File("image/png", PNG, "chart.png"),
    File("text/html", "data:text/html,<script>alert(1)</script>", "page.html"),
    File("image/png", "https://images.example/far.png"),
    Finish("stop", {"total_tokens": 3}),
]
TEXT = "It is **so** 👨‍👩‍👧.\n"

STEPS = (
    "[...document.querySelectorAll('.step')].filter((step) => !step.hidden)"
    ".map((step) => step.innerText.trim().replace(/… \\d+ s/, '…'))"
)
"""The expression for what the steps say, without the seconds that a step at work counts."""
SHOWN = ["Thought", "Used search", "status: Found 2 pages", "open failed"]


@asynccontextmanager
async def serving(
    *script: Piece | BaseException | asyncio.Event,
) -> AsyncIterator[Inside]:
    """Run a service whose every reply follows a script."""
    async with inside(Settings(pace=0), backend=Pieces(*script)) as chat:
        yield chat


async def unfold(page: Page, kind: str) -> None:
    """Unfold the steps of a kind by the keyboard, and wait until their contents are laid out."""
    await page.press(f"{LAST} .{kind} summary", "Enter")
    await driving.there(page, f"{LAST} .{kind} .grown")


async def contents(page: Page, kind: str) -> list[str]:
    """Return the texts of what the steps of a kind have laid out."""
    found: list[str] = await page.evaluate(
        "kind => [...document.querySelectorAll(`.${kind} .grown`)].map((each) => each.textContent)",
        kind,
    )
    return found


# ---------------------------------------------------------------------- thoughts


async def test_a_thought_is_seen_to_grow_and_goes_on_after_a_cut_and_a_reload(
    everywhere: Everywhere,
) -> None:
    """The tab that is opened meanwhile has it whole, too."""

    async def scenario(new_profile: NewProfile) -> None:
        more, rest = asyncio.Event(), asyncio.Event()
        pieces = [Reasoning("Let me "), Reasoning("see"), Reasoning(".")]
        script = pieces[0], more, pieces[1], rest, pieces[2], "text"
        async with serving(*script) as chat:
            profile = await new_profile()
            page = await profile.open(chat.url)
            await driving.send(page, "hi")
            await driving.there(page, f"{LAST} .reasoning[data-state=running]")
            await page.wait_for_function(
                "() => document.querySelector('.peek')?.textContent === 'Let me '"
            )
            assert await driving.seen(page, "#said") == "The reply has started."
            assert (await page.evaluate(STEPS))[0].startswith("Thinking…")
            chat.cut()
            more.set()
            await page.wait_for_function(
                "() => document.querySelector('.peek')?.textContent === 'Let me see'"
            )
            await page.reload()
            await driving.there(page, f"{LAST} .reasoning[data-state=running]")
            await unfold(page, "reasoning")
            assert await page.evaluate("document.querySelector('.peek').hidden")
            # Keys reach the tab in front alone.
            tab = await profile.open(chat.url)
            await driving.there(tab, f"{LAST} .reasoning[data-state=running]")
            rest.set()
            for each in [page, tab]:
                await driving.state(each, "done")
                assert await driving.text(each) == "text"
            await tab.reload()
            await driving.state(tab, "done")
            await unfold(tab, "reasoning")
            for each in [page, tab]:
                assert await contents(each, "reasoning") == ["Let me see."]
            assert (await page.evaluate(STEPS))[0].startswith("Thought")

    await everywhere(scenario)


async def test_nothing_of_a_thought_is_announced(
    chromium: Browser, open_page: OpenPage
) -> None:
    go = asyncio.Event()
    async with serving(Reasoning("Let me "), go, Reasoning("see."), "text") as chat:
        page = await open_page(chromium, chat.url)
        await page.evaluate(
            "window.said = [];"
            "new MutationObserver(() => said.push(document.querySelector('#said').textContent))"
            ".observe(document.querySelector('#said'), {childList: true, characterData: true, subtree: true})"
        )
        await driving.send(page, "hi")
        await page.wait_for_function(
            "() => document.querySelector('.peek')?.textContent"
        )
        go.set()
        await driving.state(page, "done")
        assert await page.evaluate("said") == [
            "The reply has started.",
            "The reply is complete.",
        ]
        hidden = (
            "document.querySelector('.peek').closest('[aria-hidden=true]') !== null"
        )
        assert await page.evaluate(hidden)
        live = "document.querySelector('.step').closest('[aria-live]').ariaLive"
        assert await page.evaluate(live) == "off"


@pytest.mark.thorough
async def test_the_time_of_a_thought_counts_and_stays(
    chromium: Browser, open_page: OpenPage
) -> None:
    go = asyncio.Event()
    async with serving(Reasoning("Let me "), go, "text") as chat:
        page = await open_page(chromium, chat.url)
        await page.clock.install()
        await page.reload()
        await page.wait_for_selector("html[data-ready]")
        await driving.send(page, "hi")
        await page.wait_for_function(
            "() => document.querySelector('.peek')?.textContent"
        )
        for seconds, title in [(12, "Thinking… 12 s"), (68, "Thinking… 1 min 20 s")]:
            await page.clock.run_for(seconds * 1000)
            await page.wait_for_function(
                "title => document.querySelector('summary').innerText === title",
                arg=title,
            )
        go.set()
        await page.wait_for_function(
            "() => document.querySelector('.text').textContent"
        )
        await page.wait_for_function(
            "() => document.querySelector('summary').innerText.startsWith('Thought for 1 min 2')"
        )


# ---------------------------------------------------------------------- all parts


async def test_every_transport_shows_all_parts_and_so_does_a_reload(
    everywhere: Everywhere,
) -> None:
    async def scenario(new_profile: NewProfile) -> None:
        async with serving(*ALL) as chat:
            profile = await new_profile()
            page = await profile.open(chat.url)
            for transport in ["sse", "eventsource", "websocket", "text", "poll"]:
                await page.click("#clear") if transport != "sse" else None
                await driving.use(page, transport)
                await driving.send(page, "hi")
                await driving.state(page, "done")
                assert await page.evaluate(STEPS) == SHOWN, transport
                assert await driving.text(page) == TEXT, transport
            await page.reload()
            await driving.state(page, "done")
            assert await page.evaluate(STEPS) == SHOWN
            await unfold(page, "reasoning")
            await unfold(page, "tool_call")
            assert await contents(page, "reasoning") == [
                "Let me see.\nI search for it."
            ]
            arguments, result = await contents(page, "tool_call")
            assert arguments == '{\n  "q": "多",\n  "n": 12345678901234567890\n}'
            assert json.loads(result) == [{"title": "A"}]
            links = await page.evaluate(
                "[...document.querySelectorAll('.sources a')].map(({href, textContent, target, rel}) =>"
                " [href, textContent, target, rel.includes('noopener noreferrer')])"
            )
            assert links == [
                ["https://one.example/a", "One", "_blank", True],
                ["https://two.example/", "https://two.example/", "_blank", True],
            ]
            assert profile.messages == []

    await everywhere(scenario)


async def test_the_states_of_a_call(chromium: Browser, open_page: OpenPage) -> None:
    written, result, failed, end = (asyncio.Event() for _ in range(4))
    script: list[Piece | asyncio.Event] = [
        *(ToolCall("1", "one", '{"a'), written, ToolCall("1", arguments='":1}')),
        *(ToolCall("2", "two"), result, ToolResult("1", 5), failed),
        *(ToolResult("2", "no", error=True), ToolCall("3", "three", "{}"), end),
        Finish("tool_calls"),
    ]
    async with serving(*script) as chat:
        page = await open_page(chromium, chat.url)
        await driving.send(page, "hi")
        await driving.there(page, ".tool_call[data-state=running] summary")
        assert await page.evaluate(STEPS) == ["Using one…"]
        await page.click("summary")
        # What is folded is laid out in the frame after it is unfolded.
        await driving.there(page, ".tool_call .grown")
        assert await contents(page, "tool_call") == ['{"a']
        written.set()
        await driving.there(page, ".tool_call:nth-child(2)")
        assert await page.evaluate(STEPS) == [
            "Using one…\n\nInput\n\n" + '{"a":1}',
            "Using two…",
        ]
        # It cannot be unfolded as long as there is nothing in it.
        assert not await page.is_visible(".tool_call:nth-child(2) summary")
        result.set()
        await driving.there(page, ".tool_call[data-state=done]")
        assert await contents(page, "tool_call") == ['{\n  "a": 1\n}', "5"]
        failed.set()
        await driving.there(page, ".tool_call[data-state=failed] summary")
        end.set()
        await driving.state(page, "done")
        titles = "[...document.querySelectorAll('.step summary')].map((each) => each.innerText)"
        assert await page.evaluate(titles) == [
            "Used one",
            "two failed",
            "Wants to use three",
        ]
        assert await driving.seen(page, "#said") == "The reply has no text."


@pytest.mark.thorough
async def test_files_are_shown_on_a_click_and_not_before(
    chromium: Browser, open_page: OpenPage
) -> None:
    async with serving(*ALL) as chat:
        page = await open_page(chromium, chat.url)
        watched = Watched(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await driving.send(page, "hi")
        await driving.state(page, "done")
        assert await page.locator("img").count() == 0
        assert not [url for url in asked if not url.startswith(chat.url)]
        await page.click(".file button")
        await page.wait_for_function(
            "() => document.querySelector('.file img')?.naturalWidth === 1"
        )
        assert await page.get_attribute(".file img", "alt") == "chart.png"
        await page.click(".file button")
        assert not await page.is_visible(".file img")
        async with page.expect_download() as download:
            await page.click(".file:nth-child(2) a")
        assert (await download.value).suggested_filename == "page.html"
        far = page.locator(".file:nth-child(3)")
        assert "images.example" in await far.inner_text()
        assert await far.locator("a").get_attribute("target") == "_blank"
        assert "noreferrer" in (await far.locator("a").get_attribute("rel") or "")
        assert await far.locator("img, button").count() == 0
        assert watched.messages == []


def kept(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation whose reply has some parts, whatever a service would say of them."""
    numbered = [
        {"part": n, "text": "", "open": False, "begunAt": None, "endedAt": None, **part}
        for n, part in enumerate(parts, 1)
    ]
    reply = {
        "role": "assistant",
        "id": "r",
        "reply": None,
        "key": "k",
        "body": None,
        "text": "text",
        "position": 4,
        "offset": 9,
        "offsetPosition": 4,
        "state": "done",
        "stopping": False,
        "problem": None,
        "html": None,
        "switches": [],
        "parts": numbered,
        "finishReason": "stop",
    }
    question = {"role": "user", "id": "m", "text": "hi"}
    return {"id": "c", "entries": [question, reply]}


async def test_what_a_model_wrote_runs_nothing_and_leads_nowhere_by_itself(
    chromium: Browser, open_page: OpenPage, service: int
) -> None:
    url = f"http://127.0.0.1:{service}"
    page = await open_page(
        chromium,
        url,
        storage_state=stored(
            url,
            kept(
                *(
                    {"kind": "source", "members": {"url": source, "title": "t"}}
                    for source in [
                        "javascript:alert(1)",
                        f"{url}/api/chat?message=x",
                        "data:text/html,x",
                        "//elsewhere.example/",
                    ]
                ),
                {"kind": "source", "members": {"url": 3, "title": {}}},
                *(
                    {"kind": "file", "members": {"url": file, "name": "a\u202egnp.exe"}}
                    for file in ["javascript:alert(1)", "", "data:image/svg+xml,<svg/>"]
                ),
                {
                    "kind": "tool_call",
                    "members": {"id": 1, "name": "<img src=x onerror=alert(1)>"},
                    "text": "<script>alert(1)</script>",
                },
                {"kind": "tool_result", "members": {"id": 7}},
                {"kind": "data", "members": {}},
            ),
        ),
    )
    watched = Watched(page)
    assert await page.locator(".sources a, .file button").count() == 0
    assert await page.locator(".sources li").count() == 5
    [download] = await page.locator(".file a").all()
    assert await download.get_attribute("download") == "agnp.exe"
    assert (await driving.seen(page, ".file")).endswith("no longer kept")
    await page.click(".tool_call summary")
    assert await contents(page, "tool_call") == ["<script>alert(1)</script>"]
    assert await page.locator(".steps :is(img, script)").count() == 0
    assert await page.locator(".step").count() == 3
    assert watched.messages == []


# ---------------------------------------------------------------------- at length


@pytest.mark.thorough
async def test_a_long_thought_stays_light(
    chromium: Browser, open_page: OpenPage
) -> None:
    """Its last lines are all that is laid out anew, and what it costs in the page is its text."""
    words = "the model thinks about streams and offsets, 然后继续. "
    line = words * 12 + "\n"
    go = asyncio.Event()
    count = 100_000 // len(line) + 1
    thought = [Reasoning(line) for _ in range(count)]
    async with serving(*thought, go, "text") as chat:
        page = await open_page(chromium, chat.url)
        await driving.send(page, "hi")
        length = count * len(line)
        await page.wait_for_function(
            "length => document.querySelector('.peek')?.textContent.length === length",
            arg=length,
        )
        lines = "(({scrollHeight, clientHeight}) => [scrollHeight, clientHeight])"
        height = await page.eval_on_selector(
            ".peek", "({clientHeight}) => clientHeight"
        )
        assert height < 80, lines
        go.set()
        await driving.state(page, "done")
        # What nobody has unfolded is not laid out.
        assert (
            await page.evaluate("document.querySelector('.step').textContent.length")
            < 40
        )
        await page.click("summary")
        assert await contents(page, "reasoning") == [line * count]


@pytest.mark.thorough
async def test_axe_finds_nothing(
    chromium: Browser, open_page: OpenPage, npm: Path
) -> None:
    axe = (npm / "axe-core" / "axe.min.js").read_text()
    go = asyncio.Event()
    async with serving(*ALL[:3], go, *ALL[3:]) as chat:
        for scheme, locale, width in [("light", "en", 1280), ("dark", "zh-CN", 390)]:
            go.clear()
            page = await open_page(
                chromium,
                chat.url,
                color_scheme=scheme,
                locale=locale,
                reduced_motion="reduce",
                viewport={"width": width, "height": 800},
            )
            await page.evaluate(axe)
            await driving.send(page, "hi")
            await driving.there(page, ".tool_call[data-state=running]")
            for _ in range(2):
                await page.evaluate(
                    "document.querySelectorAll('summary').forEach((each) => each.click())"
                )
                await driving.there(page, ".tool_call .grown")
                found = await page.evaluate(
                    "axe.run().then(({violations}) => violations)"
                )
                assert found == [], json.dumps(found, indent=1)[:3000]
                go.set()
                await driving.state(page, "done")


# ---------------------------------------------------------------------- a node of an older version


@pytest.fixture(scope="module")
def old_service(old_root: Path) -> Iterator[int]:
    """The port of a service of the version that knows no parts."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from chatsvc.cli import main; main()"]
        + ["--port", "0", "--pace", "0.01"],
        env={**os.environ, "PYTHONPATH": str(old_root)},
        cwd=old_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield int(process.stdout.readline().rsplit(":", 1)[1])
    end_service(process)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "transport", ["sse", "eventsource", "websocket", "text", "poll"]
)
async def test_a_node_of_an_older_version_is_read_by_position(
    chromium: Browser,
    open_page: OpenPage,
    service: int,
    old_service: int,
    transport: str,
) -> None:
    """The page is this version's, the service below it the other's; the page is loaded again in mid-reply."""

    def port_of(head: bytes) -> int:
        asks_chat = b" /api/" in head or b" /ws/" in head
        return old_service if asks_chat else service

    async with Proxy(service, lambda head: proxies.pass_on, port_of) as proxy:
        page = await open_page(chromium, proxy.url)
        await driving.use(page, transport)
        message = driving.TEXT * 6
        await driving.send(page, message)
        await driving.grown(page, 10)
        await page.reload()
        await driving.state(page, "done")
        assert await driving.text(page) == message
        assert await driving.notes(page) == ""
