"""UI message streams, byte for byte (PROTOCOL.md section 5)."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

from .running import Inside, Scripted, eventually, inside, parse

CHAT = "0123456789abcdef"
"""The id of a chat, as long as those of `useChat` are."""


def turn(text: str, chat: str = CHAT, **more: object) -> bytes:
    message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return json.dumps({"id": chat, "messages": [message], **more}).encode()


def told(body: bytes) -> list[dict[str, str]]:
    """The events of a UI message stream, closed as it must be."""
    *events, done, last = body.decode().split("\n\n")
    assert (done, last) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_ui_messages_byte_for_byte(chat: Inside) -> None:
    answer = await chat.raw("POST /api/ui", body=turn("a\n", trigger="submit-message"))
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert told(answer.body) == [
        {"type": "start", "messageId": answer.reply},
        {"type": "start-step"},
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "a\n"},
        {"type": "text-end", "id": "0"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]
    again = await chat.raw(f"GET /api/ui/{CHAT}/stream")
    assert again.body == answer.body
    assert (await chat.raw(f"GET /api/ui/{CHAT[::-1]}/stream")).status == 204


async def test_ui_messages_tell_how_they_ended() -> None:
    failing = Scripted("so", BackendFailed("No more."))
    async with inside(Settings(pace=0), backend=failing) as chat:
        answer = await chat.raw("POST /api/ui", body=turn("x"))
        assert told(answer.body)[-2:] == [
            {"type": "text-end", "id": "0"},
            {"type": "error", "errorText": "No more."},
        ]
    async with inside(Settings(pace=0), backend=Scripted(asyncio.Event())) as chat:
        reader, _ = await chat.connect(
            "POST /api/ui", "Connection: close", body=turn("x")
        )
        begun = await asyncio.wait_for(reader.readuntil(b"start-step"), 10)
        again = asyncio.create_task(chat.raw("POST /api/ui", body=turn("y")))
        stopped = parse(begun + await asyncio.wait_for(reader.read(), 10))
        assert told(stopped.body)[-1] == {
            "type": "abort",
            "reason": "It was stopped on request.",
        }
        await chat.json("POST", f"/api/chat/{await running(chat)}/stop")
        await again


async def running(chat: Inside) -> str:
    """The id of the chat's reply that runs, once there is one."""
    async with asyncio.timeout(10):
        while True:
            async with chat.session.get(f"{chat.url}/api/ui/{CHAT}/stream") as response:
                if response.status == 200:
                    return str(response.headers["X-Reply-Id"])


async def test_what_no_text_can_hold_is_refused(chat: Inside) -> None:
    parts = [{"type": "file", "url": "data:,x", "mediaType": "image/png"}]
    body = {"id": "c", "messages": [{"role": "user", "parts": parts}]}
    answer = await chat.raw("POST /api/ui", body=json.dumps(body).encode())
    assert answer.status == 422
    assert "no file" in json.loads(answer.body)["detail"]


async def test_parts_that_are_not_text_are_left_out(chat: Inside) -> None:
    parts = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool-x", "toolCallId": "1", "state": "output-available"},
        {"type": "text", "text": "b"},
    ]
    silent = {"role": "assistant", "parts": []}
    body = {"id": "c", "messages": [{"role": "user", "parts": parts}, silent]}
    answer = await chat.raw("POST /api/ui", body=json.dumps(body).encode())
    text = "".join(event.get("delta", "") for event in told(answer.body))
    assert text == "ab"


async def test_a_chat_is_found_by_its_user_only() -> None:
    async def who(request: web.Request) -> str | None:
        return request.headers.get("X-User")

    async with inside(Settings(pace=0), authorize=who) as chat:
        await chat.raw("POST /api/ui", "X-User: ann", body=turn("x"))
        mine = await chat.raw(f"GET /api/ui/{CHAT}/stream", "X-User: ann")
        assert mine.status == 200
        assert (
            await chat.raw(f"GET /api/ui/{CHAT}/stream", "X-User: bob")
        ).status == 204
        await chat.raw("POST /api/ui", "X-User: bob", body=turn("y"))
        again = await chat.raw(f"GET /api/ui/{CHAT}/stream", "X-User: ann")
        assert again.body == mine.body


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_whoever_is_sent_away_sees_that_it_broke_off(version: str) -> None:
    async with inside(
        Settings(pace=0), backend=Scripted("so", asyncio.Event())
    ) as chat:
        reading = asyncio.create_task(
            chat.raw("POST /api/ui", body=turn("x"), version=version)
        )
        await eventually(lambda: chat.replies.running)
        reply = await chat.replies.open(await running(chat))
        chat.send_readers_away()
        if version == "HTTP/1.0":  # without chunks the end of the connection is one
            with pytest.raises(ConnectionResetError):
                await reading
        else:
            assert not (await reading).complete
        await chat.replies.stop(reply)
