"""Each example of the README's "Write a backend", in a service that clients ask."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import chatsvc
from chatsvc import Settings, create_app

from .readme import README, blocks

HI = {"role": "user", "content": "hi"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples as files on the import path."""
    monkeypatch.syspath_prepend(tmp_path)
    names = [write(tmp_path, example) for example in blocks("python", "def answer(me")]
    yield
    for name in names:
        sys.modules.pop(name, None)


def write(folder: Path, example: str) -> str:
    """Write an example to the file that it names in its first line; return the module's name."""
    found = re.match(r"# (\w+)\.py\n", example)
    name = found[1] if found else "mounted"
    (folder / f"{name}.py").write_text(example)
    return name


async def as_ann(request: web.Request) -> str:
    """Let in whoever comes, as Ann."""
    return "ann"


async def reply_of(
    name: str, *messages: dict[str, Any], view: str = "?view=parts", **more: Any
) -> dict[str, Any]:
    """The whole reply of an example to a conversation."""
    settings = Settings(backend=f"{name}:answer", context_headers=("X-Tenant",))
    app = create_app(settings, **more)
    async with TestClient(TestServer(app)) as client:
        response = await client.post(
            f"/api/chat{view}",
            json={"messages": messages or [HI]},
            headers={"Accept": "application/json", "X-Tenant": "Acme"},
        )
        found: dict[str, Any] = await response.json()
        return found


def text(said: str) -> dict[str, Any]:
    """The answer's part."""
    return {"part": 0, "kind": "text", "text": said}


async def test_text() -> None:
    found = await reply_of("answers")
    assert found["parts"] == [text("You said: hi")]
    assert (found["state"], found["finish_reason"]) == ("done", "stop")
    assert (await reply_of("answers", view=""))["text"] == "You said: hi"


async def test_a_thought_and_an_answer() -> None:
    thought = "They say hello. I could say it back."
    assert (await reply_of("thinker"))["parts"] == [
        text("Hello!"),
        {"part": 1, "kind": "reasoning", "text": thought},
    ]
    assert (await reply_of("thinker", view=""))["text"] == "Hello!"


async def test_tools_with_what_they_are_doing() -> None:
    source = {"url": "https://example.com/paris", "title": "Paris today"}
    status = {"name": "status", "value": "The weather is here.", "id": "weather"}
    call = {"id": "call_1", "name": "weather", "text": '{"city":"Paris"}'}
    result = {"id": "call_1", "result": {"celsius": 21}}
    found = await reply_of("weather")
    assert found["state"] == "done"
    first, *parts = found["parts"]
    assert first == text("It is 21 °C in Paris.")
    assert [part.pop("kind") for part in parts] == [
        *("tool_call", "data", "tool_result", "source")
    ]
    assert [part.pop("part") for part in parts] == [1, 3, 4, 5]
    assert parts == [call, status, result, source]


async def test_images_and_results_of_tools() -> None:
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,iVBORw=="},
    }
    asking = {"role": "user", "content": [{"type": "text", "text": "What?"}, image]}
    found = await reply_of("looker", asking)
    assert found["parts"] == [text("1 image: data:image/png;base64,…")]
    function = {"name": "weather", "arguments": "{}"}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "21"}
    found = await reply_of("looker", HI, called, result)
    assert found["parts"] == [text("The result of call_1 is 21.")]


async def test_who_asks() -> None:
    found = await reply_of("greeter", authorize=as_ann)
    assert found["parts"] == [text("Hello, ann of Acme.")]
    assert (await reply_of("greeter"))["parts"] == [text("Hello, stranger of Acme.")]


async def test_refusing() -> None:
    assert (await reply_of("strict"))["parts"] == [text("Go on.")]
    found = await reply_of("strict", *[HI] * 21)
    assert found["state"] == "failed"
    problem = found["problem"]
    assert problem["detail"] == "This chat is too long. Begin another one."
    assert problem["reason"] == "refused"


async def test_what_it_used() -> None:
    found = await reply_of("counted")
    assert found["finish_reason"] == "length"
    assert found["usage"]["total_tokens"] == 13


def test_each_example_is_run_here() -> None:
    """Those that are named; the one without a name is mounted in another application."""
    examples = blocks("python", "def answer(me")
    named = [match[1] for e in examples if (match := re.match(r"# (\w+)\.py\n", e))]
    tests = Path(__file__).read_text()
    assert all(f'reply_of("{name}"' in tests for name in named)
    assert len(named) == len(examples) - 1


def test_every_piece_is_named() -> None:
    [section] = re.findall(
        "## Write a backend\n(.*?)\n## ", README.read_text(), re.DOTALL
    )
    pieces = {"Reasoning", "ToolCall", "ToolResult", "Source", "File", "Data", "Extra"}
    pieces |= {"Usage", "Finish", "BackendFailed"}
    assert pieces <= set(chatsvc.__all__)
    assert {piece for piece in pieces if piece not in section} == set()
