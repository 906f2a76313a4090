"""Each example of the README's "Write a backend": the command serves it from the folder of its file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import chatsvc

from .readme import README, EmptyFolder, blocks, names_its_file

HI = {"role": "user", "content": "hi"}


@pytest.fixture
def folder(tmp_path: Path) -> EmptyFolder:
    """A folder with the examples, each in the file that it names, and nothing else."""
    folder = EmptyFolder(tmp_path / "empty")
    for example in blocks("python", "def answer(me"):
        if names_its_file(example):
            folder.write(example)
    [doorman] = blocks("python", "# doorman.py")
    folder.write(doorman)
    return folder


def reply_of(
    folder: EmptyFolder,
    name: str,
    *messages: dict[str, Any],
    flags: tuple[str, ...] = (),
    view: str = "?view=parts",
) -> dict[str, Any]:
    """The whole reply of an example to a conversation."""
    [example] = blocks("sh", "--backend answers:answer")
    flags = ("--context-headers", "X-Tenant", *flags)
    with folder.serving(example.replace("answers", name), *flags) as service:
        request = Request(
            f"{service.url}/api/chat{view}",
            json.dumps({"messages": messages or [HI]}).encode(),
            {
                "Accept": "application/json",
                "Content-Type": "application/json",
                "Cookie": "session=a-long-secret",
                "X-Tenant": "Acme",
            },
        )
        try:
            answer = urlopen(request)
        except HTTPError as failed:  # a 502, whose body is the reply as well
            answer = failed
        with answer:
            found: dict[str, Any] = json.load(answer)
            return found


def text(said: str) -> dict[str, Any]:
    """The answer's part."""
    return {"part": 0, "kind": "text", "text": said}


def test_text(folder: EmptyFolder) -> None:
    found = reply_of(folder, "answers")
    assert found["parts"] == [text("You said: hi")]
    assert (found["state"], found["finish_reason"]) == ("done", "stop")
    assert reply_of(folder, "answers", view="")["text"] == "You said: hi"


def test_a_thought_and_an_answer(folder: EmptyFolder) -> None:
    thought = "They say hello. I could say it back."
    assert reply_of(folder, "thinker")["parts"] == [
        text("Hello!"),
        {"part": 1, "kind": "reasoning", "text": thought},
    ]
    assert reply_of(folder, "thinker", view="")["text"] == "Hello!"


def test_tools_with_what_they_are_doing(folder: EmptyFolder) -> None:
    source = {"url": "https://example.com/paris", "title": "Paris today"}
    status = {"name": "status", "value": "The weather is here.", "id": "weather"}
    call = {"id": "call_1", "name": "weather", "text": '{"city":"Paris"}'}
    result = {"id": "call_1", "result": {"celsius": 21}}
    found = reply_of(folder, "weather")
    assert found["state"] == "done"
    first, *parts = found["parts"]
    assert first == text("It is 21 °C in Paris.")
    assert [part.pop("kind") for part in parts] == [
        *("tool_call", "data", "tool_result", "source")
    ]
    assert [part.pop("part") for part in parts] == [1, 3, 4, 5]
    assert parts == [call, status, result, source]


def test_images_and_results_of_tools(folder: EmptyFolder) -> None:
    image = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,iVBORw=="},
    }
    asking = {"role": "user", "content": [{"type": "text", "text": "What?"}, image]}
    found = reply_of(folder, "looker", asking)
    assert found["parts"] == [text("1 image: data:image/png;base64,…")]
    function = {"name": "weather", "arguments": "{}"}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    called = {"role": "assistant", "content": None, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "21"}
    found = reply_of(folder, "looker", HI, called, result)
    assert found["parts"] == [text("The result of call_1 is 21.")]


def test_who_asks(folder: EmptyFolder) -> None:
    found = reply_of(folder, "greeter", flags=("--authorize", "doorman:who"))
    assert found["parts"] == [text("Hello, ann of Acme.")]
    assert reply_of(folder, "greeter")["parts"] == [text("Hello, stranger of Acme.")]


def test_refusing(folder: EmptyFolder) -> None:
    assert reply_of(folder, "strict")["parts"] == [text("Go on.")]
    found = reply_of(folder, "strict", *[HI] * 21)
    assert found["state"] == "failed"
    problem = found["problem"]
    assert problem["detail"] == "This chat is too long. Begin another one."
    assert problem["reason"] == "refused"


def test_what_it_used(folder: EmptyFolder) -> None:
    found = reply_of(folder, "counted")
    assert found["finish_reason"] == "length"
    assert found["usage"]["total_tokens"] == 13


def test_each_example_is_run_here() -> None:
    """Those that are named; the one without a name is mounted in another application."""
    examples = blocks("python", "def answer(me")
    named = [Path(file).stem for e in examples if (file := names_its_file(e))]
    tests = Path(__file__).read_text()
    assert all(f'reply_of(folder, "{name}"' in tests for name in named)
    assert len(named) == len(examples) - 1


def test_every_piece_is_named() -> None:
    [section] = re.findall(
        "## Write a backend\n(.*?)\n## ", README.read_text(), re.DOTALL
    )
    pieces = {"Reasoning", "ToolCall", "ToolResult", "Source", "File", "Data", "Extra"}
    pieces |= {"Usage", "Finish", "BackendFailed"}
    assert pieces <= set(chatsvc.__all__)
    assert {piece for piece in pieces if piece not in section} == set()
