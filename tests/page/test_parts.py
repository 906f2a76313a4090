"""The README's examples in real browsers: a native `EventSource` reads a reply by one `onmessage`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chatsvc.model import Data, Finish, Reasoning, ToolCall
from chatsvc.settings import Settings
from tests.readme import blocks
from tests.service.parts import Pieces
from tests.service.running import inside

from .browsers import Everywhere, NewProfile, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOWN = [
    ["part", 1, "reasoning"],
    ["delta", 1, "Let me "],
    ["part", 1, "reasoning"],  # it resumes in the thought, whose mark comes once more
    ["delta", 1, "see."],
    ["close", 1, ""],
    ["delta", 0, "你好 👨‍👩‍👧"],
    ["part", 2, "tool_call"],
    ["delta", 2, '{"q":"x"}'],
    ["part", 3, "data"],
    ["close", 2, ""],
    ["end", "done", ""],
]

NOTING = """(() => {
    const noted = [];
    const note = (...all) => {
        noted.push(all);
        document.documentElement.dataset.noted = JSON.stringify(noted);
    };
    SCRIPT
})()"""
"""An example, which notes on the page what it would log."""


async def test_the_example_reads_all_parts_in_the_page_and_resumes_by_itself(
    everywhere: Everywhere,
) -> None:
    """As the README has it, in the service's own page; the connection is cut in the thought."""
    [example] = blocks("js", "view=parts")
    assert "console.log(" in example and "parts.close()" in example
    script = example.replace("console.log(", "note(")
    script = script.replace("parts.close()", "note('closed', parts.close())")

    async def scenario(new_profile: NewProfile) -> None:
        go = asyncio.Event()
        backend = Pieces(
            Reasoning("Let me "),
            go,
            Reasoning("see."),
            "你好 👨‍👩‍👧",
            ToolCall("call_1", "search", '{"q":"x"}'),
            Data("status", {"at": 1}),
            Finish("tool_calls", {"total_tokens": 7}),
        )
        async with inside(Settings(pace=0), backend=backend) as chat:
            page = await (await new_profile()).open(chat.url + "/")
            await page.evaluate(NOTING.replace("SCRIPT", script))
            await noted(page, "Let me")
            chat.cut()
            go.set()
            *events, closed = json.loads(await noted(page, "closed"))
            assert closed[0] == "closed"
            assert joined(events) == SHOWN

    await everywhere(scenario)


async def test_the_example_reads_characters_and_resumes_by_itself(
    everywhere: Everywhere,
) -> None:
    """As the README has it; the connection is cut between two characters."""
    [example] = blocks("js", "console.log(data)")
    script = example.replace("console.log(data)", "note(data)")
    script = script.replace("source.close()", "note('closed', source.close())")
    assert script.count("note(") == 2

    async def scenario(new_profile: NewProfile) -> None:
        go = asyncio.Event()
        backend = Pieces("你好", go, Finish("stop"))
        async with inside(Settings(pace=0), backend=backend) as chat:
            page = await (await new_profile()).open(chat.url + "/")
            await page.evaluate(NOTING.replace("SCRIPT", script))
            await noted(page, "你")
            chat.cut()
            go.set()
            *events, closed = json.loads(await noted(page, "closed"))
            assert closed[0] == "closed"
            assert events == [["你"], ["好"]]

    await everywhere(scenario)


async def noted(page: Page, word: str) -> str:
    """What the page has noted, once a word is in it."""
    await page.wait_for_function(
        "word => (document.documentElement.dataset.noted ?? '').includes(word)",
        arg=word,
    )
    return str(await page.evaluate("document.documentElement.dataset.noted"))


def joined(events: list[list[Any]]) -> list[list[Any]]:
    """The events, in which deltas of one part that follow each other are one."""
    found: list[list[Any]] = []
    for event in events:
        last = found[-1] if found else None
        if last is not None and event[0] == "delta" and last[:2] == event[:2]:
            found[-1] = [*event[:2], str(last[2]) + str(event[2])]
        else:
            found.append(event)
    return found
