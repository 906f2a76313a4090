"""The clients that people use from JavaScript: OpenAI's, the AI SDK's, and the chat behind `useChat`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from tests.model_turns import called, turn

from .node import installed, run
from .relaying import relayed
from .running import HARD, Inside, characters, inside

pytestmark = pytest.mark.any_store

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.fixture(scope="session")
def npm() -> Path:
    """Where the clients are."""
    return installed()


@pytest.fixture
async def moody() -> AsyncIterator[Inside]:
    """A service whose answer goes by the last message: it fails, hangs, waits to be let on, or echoes."""
    gate = asyncio.Event()

    async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str | Finish]:
        message = messages[-1]["content"]
        if message in ("fail", "hang", "gate"):
            yield "cut "
        if message == "fail":
            raise BackendFailed("The model has had enough.")
        if message == "hang":
            await asyncio.Event().wait()
        if message == "open":
            gate.set()
        if message == "gate":
            await gate.wait()
            yield "off"
        else:
            yield message
        yield Finish("length" if message == HARD else "stop", USAGE)

    async with inside(Settings(pace=0, grace=60), backend=answer) as chat:
        yield chat
        await chat.nothing_left()


async def test_openai(moody: Inside, npm: Path) -> None:
    seen = await run(npm, "openai.mjs", moody.url, HARD)
    assert seen["models"] == ["answer"]
    assert seen["whole"] == [HARD, "length", USAGE]
    first, *chunks, last, usage = seen["chunks"]
    assert first == ["assistant", "", None]
    assert "".join(text for _, text, _ in chunks) == HARD
    assert len(chunks) < len(characters(HARD))
    assert (last, usage) == ([None, None, "length"], USAGE)
    assert seen["cut"] == "cut "
    failure = seen["streamFailure"]
    assert failure["message"] == "The model has had enough."
    assert failure["code"] == "backend-failed"
    assert seen["wholeFailure"]["status"] == 502
    assert seen["refused"]["kind"] == "UnprocessableEntityError"
    assert seen["missing"]["kind"] == "NotFoundError"


async def test_openai_ends_up_with_what_it_ends_up_with_directly(npm: Path) -> None:
    async def run_tools(url: str) -> Any:
        return await run(npm, "tools.mjs", url)

    thinks = turn("It is so.", reasoning_content="Let me see.")
    calls = turn(
        None,
        called("call_1", "weather", {"town": "Bern"}),
        called("call_2", "weather", {"town": "Zürich"}),
    )
    formed = turn('{"steps": ["one", "two"], "result": 3}')
    seen, requests = await relayed(
        run_tools,
        *(thinks, thinks, turn("A cat.")),
        *(calls, turn("It is sunny."), calls, turn("It is sunny.")),
        *(formed, formed),
        turn(None, called("call_1", "weather", {"town": "Bern"})),
        turn(refusal="I won't."),
    )
    assert len(requests) == 11
    assert seen["streamed"][:2] == ["It is so.", "Let me see."]
    for streaming in ("false", "true"):
        said, towns, _ = seen[f"ran {streaming}"]
        assert (said, towns) == ("It is sunny.", ["Bern", "Zürich"])
    for name in ("parsed", "parsedStream"):
        parsed = seen[name]["choices"][0]["message"]["parsed"]
        assert parsed == {"steps": ["one", "two"], "result": 3}
    assert seen["refused"]["choices"][0]["message"]["refusal"] == "I won't."


async def test_provider_of_the_ai_sdk(moody: Inside, npm: Path) -> None:
    seen = await run(npm, "provider.mjs", moody.url, HARD)
    assert "".join(seen["deltas"]) == HARD
    assert seen["finish"] == "length"
    assert seen["tokens"] == 7
    assert seen["whole"] == [HARD, "length"]
    assert seen["cut"] == "cut "
    assert seen["streamFailure"] == ["The model has had enough."]
    assert seen["wholeFailure"] == [502, "The model has had enough."]
    assert seen["aborted"]


async def test_use_chat(moody: Inside, npm: Path) -> None:
    seen = await run(npm, "chat.mjs", moody.url, HARD)
    turns = [["user", HARD], ["assistant", HARD], ["user", "again"]]
    assert seen["plain"] == [[*turns, ["assistant", "again"]], "ready", "stop"]
    assert seen["regenerated"] == [*turns, ["assistant", "again"]]
    failed = [["user", "fail"], ["assistant", "cut "]]
    assert seen["failing"] == [failed, "error", "The model has had enough."]
    assert seen["refused"] == "/problems/invalid-request"
    texts, status, disconnected = seen["cut"]
    assert (texts[0], status, disconnected) == (["user", "gate"], "error", True)
    resumed = [["user", "gate"], ["assistant", "cut off"]]
    assert seen["resumed"] == [resumed, "ready"]
    assert seen["loaded"] == resumed
    # The SDK's own ids are long enough to be nobody else's.
    assert seen["ids"] == [16, 16]
    assert seen["short"] == [[["user", HARD], ["assistant", HARD]], [], "ready"]
    assert seen["unknown"] == [[], "ready"]
    # The space was not known to be a whole character yet.
    assert seen["stopped"] == [[["assistant", "cut"]], "ready"]
    assert seen["left"] == [
        ["user", "hang"],
        ["assistant", "cut"],
        ["user", "on"],
        ["assistant", "on"],
    ]
