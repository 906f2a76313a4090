"""The AI SDK's chat itself, in node: all kinds of parts, tools, stops, reloads and lost networks.

What versions can't do is theirs: `CANNOT` has it, as the README says it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.settings import Settings

from ..readme import blocks
from ..scripted_upstream import DONE, HANG, Upstream, chunk, head
from .node import installed, run
from .running import eventually, inside
from .ui_pages import PIXEL, USAGE, pages_service

EARLY = ("ai-5.0.89", "ai-5.0.100", "ai-6.0.50")
"""Early versions, beside the newest of each."""

RELOADED = {
    f"reloaded {how}"
    for how in ("with the text", "in a thought", "in the second turn", "with the call")
}
CUT = {"cut", "cut in a call"}
CANNOT = {
    "ai": set(),
    "ai-6": set(),
    "ai-5": {"reloaded with the call"} | CUT,
    **dict.fromkeys(EARLY, RELOADED | CUT),
}
"""The scenes in which a version shows something twice."""

START = ["step-start"]
SUN = ["tool", "weather", "output-available", {"sun": True}]
CALLED = [START, ["text", "Look. "], SUN, START, ["text", 'It is {"sun":true}']]


def asked(question: str, *parts: Any) -> list[Any]:
    return [["user", ["text", question]], ["assistant", *parts]]


SEEN: dict[str, Any] = {
    "text": [
        asked("text", START, ["text", "Hel.lo"]),
        "ready",
        {"finishReason": "stop", "usage": USAGE},
    ],
    "thought": [
        *asked("think", START, ["reasoning", "Let me see.", "sig"], ["text", "So."]),
        *asked("text", START, ["text", "Hel.lo"]),
    ],
    "client": [
        [*asked("call", *CALLED), *asked("call", *CALLED)],
        ["weather"] * 2,
        2,
        "ready",
    ],
    "server": [
        asked(
            "serve",
            START,
            ["text", "Wait. "],
            ["tool", "search", "output-available", ["r"]],
            START,
            ["text", "Found."],
        ),
        [],
        "ready",
    ],
    "broken": [
        asked(
            "broken",
            START,
            [
                "tool",
                "weather",
                "output-error",
                "The arguments of the call are not JSON.",
            ],
            START,
            ["text", "It is The arguments of the call are not JSON."],
        ),
        [],
        "ready",
    ],
    "rich": asked(
        "rich",
        START,
        ["text", "See this:"],
        ["source-url", "https://example.org/", "An example"],
        ["data-status", "idle"],
        ["file", "image/png", PIXEL],
        ["text", "end."],
    ),
    "failing": [
        asked("fail", START, ["text", "cut."]),
        "error",
        "The model has had enough.",
    ],
    "options": asked("options", START, ["text", "{'seed': 7}"]),
    "file": [
        "assistant",
        START,
        [
            "text",
            repr(
                [
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                    {"type": "text", "text": "files"},
                ]
            ),
        ],
    ],
    "stopped": [asked("hang", START, ["text", "cut"]), "ready", 200],
    "own": [
        asked(
            "hang",
            START,
            ["tool", "weather", "output-available", "rain"],
            START,
            ["text", "cut"],
        ),
        True,
        200,
        "ready",
    ],
    "reloaded with the question": [
        asked("hold text a", START, ["text", "Hel.lo"]),
        [],
        "ready",
        [],
    ],
    "reloaded with the text": [
        asked("hold text b", START, ["text", "Hel.lo"]),
        [],
        "ready",
        [],
    ],
    "reloaded in a thought": [
        asked(
            "hold thought c",
            START,
            ["reasoning", "Let me see.", "sig"],
            ["text", "So."],
        ),
        [],
        "ready",
        [],
    ],
    "reloaded with the call": [asked("hold call d", *CALLED), ["weather"], "ready", []],
    "reloaded before the call": [
        asked("hold call e", *CALLED),
        ["weather"],
        "ready",
        [],
    ],
    "reloaded in the second turn": [
        asked("hold second f", *CALLED[:-1], ["text", 'It It is {"sun":true}']),
        [],
        "ready",
        ["weather"],
    ],
    "cut": [asked("hold text g", START, ["text", "Hel.lo"]), [], "ready", "error"],
    "cut in a call": [asked("hold call h", *CALLED), ["weather"], "ready", "error"],
    "after the end": [asked("call", *CALLED), [], "ready"],
}
"""What the page shows in each scene of `ui.mjs`, and what else that notes."""


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(v, marks=[pytest.mark.thorough] if v in EARLY else [])
        for v in CANNOT
    ],
)
async def test_a_page_shows_all_of_it_once(version: str) -> None:
    folder: Path = installed("early.json" if version in EARLY else "package.json")
    async with pages_service() as (chat, answers):
        seen = await run(folder, "ui.mjs", chat.url, version)
        assert seen.keys() == SEEN.keys()
        assert {title for title in SEEN if seen[title] != SEEN[title]} == CANNOT[
            version
        ]
        # A tool is run once, whatever is shown twice.
        for title in CUT | RELOADED:
            notes = [
                name for note in seen[title] if isinstance(note, list) for name in note
            ]
            assert notes.count("weather") <= 1
        # The page asked for the stops: the model writes no more.
        assert answers.closed == ["hang", "hang"]
        _check(answers.asked)


def _check(conversations: list[list[dict[str, Any]]]) -> None:
    """Check what came back to the backend."""
    thoughts = [
        m for messages in conversations for m in messages if "reasoning_details" in m
    ]
    assert thoughts
    for message in thoughts:
        assert message["reasoning_content"] == "Let me see."
        assert message["reasoning_details"] == [
            {
                "index": 0,
                "type": "reasoning.text",
                "text": "Let me see.",
                "signature": "sig",
            }
        ]
    turns = [
        messages
        for messages in conversations
        if messages[-1]["role"] == "tool" and "tool_calls" in messages[-2]
    ]
    signed = [
        messages
        for messages in turns
        if "broken" not in messages[-3]["content"]
        and "hang" not in messages[-3]["content"]
    ]
    assert signed
    for messages in signed:
        [call] = messages[-2]["tool_calls"]
        assert call["extra_content"] == {"google": {"sign": "x"}}
        assert call["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
        assert messages[-1] == {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": '{"sun":true}',
        }
    # The model called each time with the same id, and a page can't have two calls of one id.
    twice = max(signed, key=len)
    ids = [call["id"] for message in twice for call in message.get("tool_calls", ())]
    assert ids == ["1", "1-2"]


async def test_the_readmes_example_runs_tools_and_stops_the_model() -> None:
    weather = {"index": 0, "id": "1", "type": "function"}
    weather["function"] = {"name": "weather", "arguments": '{"city":"Paris"}'}
    calls = {"choices": [{"index": 0, "delta": {"tool_calls": [weather]}}]}
    ends = chunk(finish_reason="tool_calls") + DONE
    upstream = Upstream(
        [head() + b"data: " + json.dumps(calls).encode() + b"\n\n" + ends],
        [head() + chunk("It is "), chunk("sunny, "), HANG],
    )
    [example] = blocks("js", "useChat")
    async with (
        upstream.running() as url,
        inside(Settings(pace=0, grace=60), backend=OpenAIBackend(url)) as chat,
    ):
        seen = await run(installed(), "readme.mjs", chat.url, example)
        assert seen == {
            "status": 200,
            "ran": [["weather", {"city": "Paris"}]],
            "parts": [
                ["step-start", None],
                ["tool-weather", "sunny"],
                ["step-start", None],
                ["text", "It is sunny,"],
            ],
            "messages": 2,
            "resumes": True,
        }
        # Long before `--grace`: nothing but the page's stop has closed the model's connection.
        await eventually(lambda: not upstream.open)
        first, second = upstream.requests
        assert first["tools"] == second["tools"]
        assert second["messages"][-1]["content"] == "sunny"
        await chat.nothing_left()
