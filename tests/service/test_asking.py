"""What a request may ask by each front, as the model's server, a function and a refusal see it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import aiohttp
import openai
import pytest

from chatsvc.backends.echo import EchoBackend
from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import ABILITIES, Context
from chatsvc.settings import BadSetting, Settings, read_settings
from tests.messages import IMAGE
from tests.scripted_upstream import DONE, Part, Upstream, chunk, head

from ..stalls import without_stall
from .running import Chat, Inside, inside

T = TypeVar("T")

SCRIPT: list[Part] = [head(), chunk("hi") + chunk(None, finish_reason="stop") + DONE]

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"x": None}}}]
MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief.", "name": "boss"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?", "cache_control": {"a": 1}},
            IMAGE,
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "AA==", "filename": "a.pdf"}},
            {"type": "of tomorrow", "of tomorrow": [{"é": None}]},
        ],
        "unknown": {"deep": [1, 2.5, None, "\u2028"]},
    },
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"x":1}'},
                "extra_content": {"google": {"thought_signature": "x"}},
            },
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "r" * 50_000},
    {"role": "assistant", "tool_calls": [{"id": "2"}]},
    {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "s"}]},
    {"role": "user", "content": "And now?"},
]
OPTIONS: dict[str, Any] = {
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "model": "chosen",
    "temperature": 0.25,
    "reasoning_effort": "low",
    "of_tomorrow": {"a": [None]},
}


async def posted(chat: Chat, path: str, asked: Any) -> tuple[int, str]:
    """Ask by a POST."""
    body = io.BytesIO(json.dumps(asked).encode())
    headers = {"Content-Type": "application/json"}
    url = chat.url + path
    async with chat.session.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def by_chat(chat: Chat, messages: Any, options: Any) -> tuple[int, str]:
    """Ask by `POST /api/chat`."""
    asked = {"messages": messages, "options": options}
    return await posted(chat, "/api/chat", asked)


async def by_v1(chat: Chat, messages: Any, options: Any) -> tuple[int, str]:
    """Ask by `POST /v1/chat/completions`."""
    asked = {**options, "messages": messages, "stream": True}
    return await posted(chat, "/v1/chat/completions", asked)


def by_websocket(
    *protocols: str,
) -> Callable[..., Coroutine[Any, Any, tuple[int, str]]]:
    """Return how to ask over a WebSocket of some subprotocol."""

    async def ask(chat: Chat, messages: Any, options: Any) -> tuple[int, str]:
        asked = {"messages": messages, "options": options}
        text = ""
        url = chat.url + "/ws/chat"
        async with chat.session.ws_connect(url, protocols=protocols) as ws:
            await ws.send_json(asked)
            while not text.endswith(("[DONE]", '[DONE]"}')):
                frame = await ws.receive(timeout=20)
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    return int(frame.data), str(frame.extra)
                text += frame.data
                if "/problems/" in frame.data:
                    return json.loads(frame.data)["data"]["status"], frame.data
        return 200, text

    return ask


FRONTS: dict[str, Callable[..., Coroutine[Any, Any, tuple[int, str]]]] = {
    "chat": by_chat,
    "v1": by_v1,
    "bare": by_websocket(),
    "chatsvc.v1": by_websocket("chatsvc.v1"),
    "chatsvc.v2": by_websocket("chatsvc.v2"),
}


@pytest.mark.parametrize("front", FRONTS)
async def test_the_models_server_gets_what_came(front: str) -> None:
    upstream = Upstream(SCRIPT)
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "ours", models=["chosen"])
        async with inside(Settings(pace=0), backend=backend) as chat:
            status, text = await FRONTS[front](chat, MESSAGES, OPTIONS)
            assert status == 200, text
    assert upstream.requests == [
        {
            **OPTIONS,
            "messages": MESSAGES,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


class Noting:
    """A function that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Context]] = []

    async def __call__(self, messages: Any, context: Context) -> AsyncIterator[str]:
        self.asked.append((messages, context))
        yield "a"


@pytest.mark.parametrize("front", FRONTS)
async def test_a_function_gets_objects_and_options(front: str) -> None:
    noting = Noting()
    async with inside(Settings(pace=0), backend=noting) as chat:
        status, text = await FRONTS[front](chat, MESSAGES, OPTIONS)
        assert status == 200, text
    [(messages, context)] = noting.asked
    # What is text is a string, whatever it came as.
    texts = {2: "", 4: "", 5: "s"}
    assert messages == [
        {**message, "content": texts.get(index, message.get("content"))}
        for index, message in enumerate(MESSAGES)
    ]
    assert context.options == OPTIONS


class Taking(EchoBackend):
    """The echo of a backend that says what it takes."""

    def __init__(self, *takes: str) -> None:
        self.takes = frozenset(takes)


USER = {"role": "user", "content": "a"}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "a"}

NOT_TAKEN: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("images", [USER, {"role": "user", "content": [IMAGE]}], {}, "messages[1].content[0]"),
    ("tools", [USER, RESULT], {}, "messages[1].role"),
    ("tools", [USER], {"tools": TOOLS}, "tools"),
    ("tools", [USER], {"tool_choice": "required"}, "tool_choice"),
    ("response_format", [USER], {"response_format": {"type": "json_object"}}, "response_format"),
]  # fmt: skip


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(("needs", "messages", "options", "named"), NOT_TAKEN)
async def test_what_a_backend_does_not_take_is_refused_by_name(
    front: str, needs: str, messages: list[Any], options: dict[str, Any], named: str
) -> None:
    settings = Settings(pace=0)
    async with inside(settings, backend=Taking(*ABILITIES - {needs})) as chat:
        status, text = await FRONTS[front](chat, messages, options)
        if front == "bare":
            assert status == 4422
        else:
            assert status == 422
            place = "" if front == "v1" or named.startswith("messages") else "options."
            assert f"{place}{named} must" in text
        assert not chat.replies.known
    async with inside(settings, backend=Taking(needs)) as chat:
        status, text = await FRONTS[front](chat, messages, options)
        assert status == 200, text


async def test_a_backend_that_says_nothing_takes_text_alone(chat: Inside) -> None:
    for _, messages, options, _ in NOT_TAKEN:
        assert (await by_chat(chat, messages, options))[0] == 422
    ignored = {"temperature": 1, "tools": [], "seed": 5, "n": 1, "unknown": {}}
    assert (await by_chat(chat, [USER], ignored))[0] == 200


SMALL = Settings(pace=0, max_message=64, max_files=1000)


@pytest.mark.parametrize("front", FRONTS)
async def test_the_limits_of_files_and_bodies(front: str) -> None:
    def image(size: int) -> dict[str, Any]:
        url = "data:image/png;base64," + "A" * (size - 22)
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"role": "user", "content": [part]}

    too_large = 1009 if front == "bare" else 413
    async with inside(SMALL, backend=Taking("images", "tools")) as chat:
        ask = FRONTS[front]
        for messages, expected in (
            ([image(1000)], 200),
            ([image(1001)], too_large),
            ([image(500), image(501)], too_large),
            ([{"role": "user", "content": "x" * 65}], too_large),
            ([{**RESULT, "content": "x" * 800}, image(900)], 200),
            ([{"role": "assistant", "content": "x" * 800}, image(900)], 200),
            ([{"role": "assistant", "content": "x" * 1024}], too_large),
            ([{"role": "assistant", "content": "x" * 1024}, image(500)], too_large),
        ):
            status, text = await ask(chat, messages, {})
            assert status == expected, text
        [last] = [{"role": "assistant", "content": "x" * 3000}]
        status, _ = await ask(chat, [last], {})
        assert status == (too_large if front in ("chat", "v1") else 1009)


async def test_the_model_that_a_request_chooses() -> None:
    upstream = Upstream(SCRIPT)
    async with upstream.running() as url:
        settings = Settings(
            pace=0,
            backend="openai",
            openai_url=url,
            openai_model="ours",
            openai_models=("small,vendor/large", "ours", "tiny"),
        )
        names = ["ours", "small", "vendor/large", "tiny"]
        async with inside(settings) as chat:
            for name in ("vendor/large", "huge"):
                await by_v1(chat, [USER], {"model": name})
            asking = openai.AsyncOpenAI(base_url=f"{chat.url}/v1", api_key="key")
            async with asking:
                assert [model.id async for model in asking.models.list()] == names
                for name in names:
                    assert (await asking.models.retrieve(name)).id == name
                with pytest.raises(openai.NotFoundError):
                    await asking.models.retrieve("huge")
        async with inside(replace(settings, openai_models=("*",))) as chat:
            await by_chat(chat, [USER], {"model": "huge"})
            async with chat.session.get(chat.url + "/v1/models") as answer:
                listed = await answer.json()
        assert [model["id"] for model in listed["data"]] == ["ours"]
    asked = [request["model"] for request in upstream.requests]
    assert asked == ["vendor/large", "ours", "huge"]


def test_the_names_of_models_are_a_list() -> None:
    read = read_settings(Settings, {"openai_models": ["a, b/c:d", "e"]}, {})
    assert read.openai_models == ("a,b/c:d", "e")
    variable = {"CHATSVC_OPENAI_MODELS": "a, b/c:d e"}
    assert read_settings(Settings, {}, variable).openai_models == ("a", "b/c:d", "e")
    for wrong in ("", "a,", ",", "a b"):
        with pytest.raises(BadSetting, match="--openai-models takes names of models"):
            read_settings(Settings, {"openai_models": [wrong]}, {})


async def test_the_operator_decides_what_goes_on() -> None:
    upstream = Upstream(SCRIPT)
    async with upstream.running() as url:
        settings = Settings(
            pace=0,
            backend="openai",
            openai_url=url,
            openai_forward="no",
            openai_extra='{"seed": 5}',
            temperature=0.5,
            max_tokens=9,
        )
        async with inside(settings) as chat:
            options = {**OPTIONS, "seed": 1, "max_completion_tokens": 100}
            await by_chat(chat, MESSAGES, options)
    [request] = upstream.requests
    assert request == {
        "messages": MESSAGES,
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
        "temperature": 0.25,
        "max_completion_tokens": 9,
        "seed": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_repeated_request_is_known_by_all_that_it_asks(chat: Inside) -> None:
    async def ask(**more: Any) -> tuple[int, str]:
        key = {"Idempotency-Key": "0123456789abcdef"}
        url = chat.url + "/api/chat"
        async with chat.session.post(url, json=more, headers=key) as answer:
            await answer.read()
            return answer.status, answer.headers.get("X-Reply-Id", "")

    first = await ask(messages=[USER], options={"seed": 1}, ignored=1)
    assert first[0] == 200
    assert await ask(messages=[USER], options={"seed": 1}) == first
    assert (await ask(messages=[USER], options={"seed": 2}))[0] == 422
    assert (await ask(messages=[{**USER, "name": "b"}], options={"seed": 1}))[0] == 422
    assert (await ask(message="a"))[0] == 422


@contextmanager
def loop_elsewhere() -> Iterator[Callable[[Coroutine[Any, Any, T]], Awaitable[T]]]:
    """Return how to run a coroutine in another thread's event loop: what it costs is not the service's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda work: asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(work, loop)
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def asking_with(chat: Inside, front: str, body: list[Any]) -> tuple[int, str]:
    """Ask by a session of the running loop's own."""
    async with aiohttp.ClientSession() as session:
        other = Chat(chat.host, chat.port, session)
        return await FRONTS[front](other, body, {})


@pytest.mark.parametrize("front", FRONTS)
async def test_big_files_do_not_hold_the_loop(front: str) -> None:
    """Of twice the bytes that they may have by default, on their way from a client to the model's server."""
    upstream = Upstream(SCRIPT)
    size = 8 * 1024 * 1024
    url = "data:image/png;base64," + "QUJD" * ((size - 22) // 4)
    part = {"type": "image_url", "image_url": {"url": url}}
    body = [{"role": "user", "content": [part]}]
    settings = Settings(pace=0, max_files=size)
    running = upstream.running()
    with loop_elsewhere() as elsewhere:
        backend = OpenAIBackend(await elsewhere(running.__aenter__()))
        async with inside(settings, backend=backend) as chat:

            async def ask() -> tuple[int, str]:
                return await elsewhere(asking_with(chat, front, body))

            status, text = await without_stall(ask())
            assert status == 200, text[:1000]
        await elsewhere(running.__aexit__(None, None, None))
    assert upstream.requests[0]["messages"] == body


async def test_nothing_is_left_of_big_requests() -> None:
    async with inside(Settings(pace=0), backend=Noting()) as chat:
        await asyncio.gather(*(by_chat(chat, MESSAGES, OPTIONS) for _ in range(10)))
        await chat.nothing_left()
