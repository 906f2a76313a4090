"""`/v1` for OpenAI's clients (PROTOCOL.md section 5), by the official one and byte for byte."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web

from chatsvc.backends.openai import OpenAIBackend
from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings
from tests.scripted_upstream import DONE, HANG, Upstream, chunk, head

from .running import HARD, Chat, Inside, Scripted, characters, eventually, inside

pytestmark = pytest.mark.any_store

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
POST = "POST /v1/chat/completions"


def request(content: Any = HARD, **members: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"messages": messages, **members}).encode()


def client(chat: Chat) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{chat.url}/v1", api_key="key", max_retries=0)


@pytest.fixture
async def scripted(request: pytest.FixtureRequest) -> AsyncIterator[Inside]:
    """A service that answers by the script that the test is marked with; nothing is left afterwards."""
    script = [asyncio.Event() if part is HANG else part for part in request.param]
    settings = Settings(pace=0, grace=60)
    async with inside(settings, backend=Scripted(*script)) as chat:
        yield chat
        await chat.nothing_left()


def answering(*script: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scripted", [script], indirect=True, ids=[""])


@answering(HARD, Finish("length", USAGE))
async def test_python_client_streams_all_that_is_out_as_a_chunk(
    scripted: Inside,
) -> None:
    async with client(scripted) as asking:
        stream = await asking.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        first, *middle, last, used = chunks
        assert first.choices[0].delta.role == "assistant"
        assert first.choices[0].delta.content == ""
        texts = [chunk.choices[0].delta.content for chunk in middle]
        assert "".join(filter(None, texts)) == HARD
        assert len(texts) < len(characters(HARD))
        assert last.choices[0].finish_reason == "length"
        assert not used.choices
        assert used.usage is not None
        assert used.usage.total_tokens == 7
        assert all(chunk.usage is None for chunk in chunks[:-1])
        assert len({chunk.id for chunk in chunks}) == 1

        whole = await asking.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "hi"}]
        )
        assert whole.choices[0].message.content == HARD
        assert whole.choices[0].finish_reason == "length"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 4


@answering("so far\n", BackendFailed("The model has had enough."))
async def test_python_client_is_told_of_a_failure(scripted: Inside) -> None:
    async with client(scripted) as asking:
        stream = await asking.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text = ""
        with pytest.raises(openai.APIError, match="has had enough") as failure:
            async for part in stream:
                text += part.choices[0].delta.content or ""
        assert text == "so far\n"
        assert failure.value.code == "backend-failed"
        with pytest.raises(openai.InternalServerError) as refusal:
            await asking.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "hi"}]
            )
        assert refusal.value.status_code == 502


@pytest.mark.parametrize("streamed", [True, False])
@answering("one two", HANG)
async def test_closing_stops_the_reply(scripted: Inside, streamed: bool) -> None:
    reader, writer = await scripted.connect(POST, body=request(stream=streamed))
    if streamed:
        await reader.readuntil(b'"content":"one tw"')
    await eventually(lambda: scripted.replies.running)
    writer.close()  # and nothing is left, long before the grace is over


@answering("one two", HANG)
async def test_whoever_is_sent_away_is_told_so(scripted: Inside) -> None:
    reader, writer = await scripted.connect(POST, body=request(stream=True))
    await reader.readuntil(b'"content":"one tw"')
    scripted.send_readers_away()
    rest = await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b'"code":"draining"' in rest
    writer.close()  # the reply goes with it


async def test_stream_byte_for_byte(chat: Inside) -> None:
    answer = await chat.raw(POST, body=request("a\n\u2028", stream=True))
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    lines = answer.body.decode("ascii").split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "a\n\u2028"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]
    assert all(
        choice.keys() == {"index", "delta", "finish_reason"} for choice in choices
    )
    for told in chunks:
        assert told["object"] == "chat.completion.chunk"
        assert re.fullmatch(r"chatcmpl-[\w-]{12}", told["id"])
        assert told["model"] == "echo"
        assert "usage" not in told
    assert len({told["id"] for told in chunks}) == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_no_body_names_the_reply(chat: Inside, streamed: bool) -> None:
    """Its id is a capability, and clients log the ids of completions."""
    answer = await chat.raw(POST, body=request("hi", stream=streamed))
    assert answer.reply
    assert answer.reply.encode() not in answer.body


async def test_parts_of_text_are_one_content(chat: Inside) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer = json.loads((await chat.raw(POST, body=request(parts))).body)
    assert answer["choices"][0]["message"]["content"] == "ab"
    assert answer["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    ("line", "body", "status", "code"),
    [
        (POST, b"{", 400, "bad-json"),
        (POST, b"[]", 422, "invalid-request"),
        (POST, b'{"messages": []}', 422, "invalid-request"),
        (POST, request(n=2), 422, "invalid-request"),
        (POST, request(tool_choice="required"), 422, "invalid-request"),
        (POST, request([{"type": "image_url"}]), 422, "invalid-request"),
        (POST, request("x" * 40_000), 413, "too-large"),
        (POST, b'{"messages":[{"role":"user","content":"\\ud800"}]}', 400, "bad-text"),
        ("GET /v1/chat/completions", b"", 405, "method-not-allowed"),
        ("GET /v1/nothing", b"", 404, "not-found"),
        ("GET /v1/models/none", b"", 404, "not-found"),
    ],
)
async def test_errors_are_openai_objects(
    chat: Inside, line: str, body: bytes, status: int, code: str
) -> None:
    answer = await chat.raw(line, "Accept: text/html", body=body)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    error = json.loads(answer.body)["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    assert error["message"]


async def test_who_may_not_is_told_so_as_well() -> None:
    async def nobody(_: web.Request) -> None:
        return None

    async with inside(authorize=nobody) as chat:
        answer = await chat.raw(POST, body=request())
        assert answer.status == 401
        assert json.loads(answer.body)["error"]["type"] == "authentication_error"


async def test_other_parameters_reach_an_openai_backend() -> None:
    stop = chunk(None, finish_reason="stop")
    upstream = Upstream([head(), chunk("hi") + stop + DONE])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "real")
        async with inside(Settings(pace=0), backend=backend) as chat:
            body = request(
                model="any", seed=7, logit_bias={"1": 2}, tools=[{}], stream=True
            )
            assert b'"model":"real"' in (await chat.raw(POST, body=body)).body
        sent = upstream.requests[0]
    assert (sent["model"], sent["seed"], sent["logit_bias"]) == ("real", 7, {"1": 2})
    assert sent["tools"] == [{}]


@pytest.mark.parametrize(
    ("named", "chosen", "shown"),
    [
        ("", "any", "real"),
        ("", "other", "other"),
        ("real-2026", "other", "real-2026"),
        ("real-2026", "any", "real-2026"),
    ],
)
async def test_the_model_is_named_as_its_server_names_it(
    named: str, chosen: str, shown: str
) -> None:
    said = [chunk("hi"), chunk(None, finish_reason="stop")]
    if named:
        said = [each.replace(b"{", b'{"model": "%b", ' % named.encode(), 1) for each in said]  # fmt: skip
    upstream = Upstream([head(), *said, DONE])
    async with upstream.running() as url:
        backend = OpenAIBackend(url, "real", models=["other"])
        async with inside(Settings(pace=0), backend=backend) as chat:
            for stream in (True, False):
                body = request(model=chosen, stream=stream)
                answer = await chat.raw(POST, body=body)
                models = re.findall(rb'"model":"([^"]*)"', answer.body)
                assert {*models} == {shown.encode()}


async def test_models(chat: Inside) -> None:
    async with client(chat) as asking:
        assert [model.id async for model in asking.models.list()] == ["echo"]
        assert (await asking.models.retrieve("echo")).id == "echo"
