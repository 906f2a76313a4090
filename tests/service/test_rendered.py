"""A reply as HTML, and a chat's last reply, over HTTP (PROTOCOL.md section 2)."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

from ..markdown_harm import read
from .running import HARD, Inside, Scripted, eventually, inside

HTML = "Accept: text/html"


async def test_a_reply_is_rendered_as_far_as_it_is_out() -> None:
    gate = asyncio.Event()
    async with inside(
        Settings(pace=0), backend=Scripted("# One\n\ntwo", gate, " <b>\n")
    ) as chat:
        reply = await chat.start("hi")
        held = await chat.replies.open(reply)
        await eventually(lambda: held.out() == 9)  # the last may grow yet
        growing = await chat.raw(f"GET /api/chat/{reply}", HTML)
        assert growing.body.endswith(
            b'<h1 dir="auto" data-end="7">One</h1>\n'
            b'<p dir="auto" data-end="9">tw</p>\n</body></html>\n'
        )
        assert growing.reply == reply
        policy = growing.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        gate.set()
        await eventually(lambda: held.end)
        whole = await chat.raw(f"GET /api/chat/{reply}", HTML)
        assert b'data-end="15">two &lt;b&gt;</p>' in whole.body


async def test_only_where_a_reply_is_read_there_is_html(chat: Inside) -> None:
    reply = await chat.start(HARD)
    browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
    page = await chat.raw(f"GET /api/chat/{reply}", browser)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    body = page.body.decode().partition("<body>\n")[2].partition("</body>")[0]
    assert read(HARD, body).text.split() == HARD.split()
    unknown = await chat.raw(f"GET /api/chat/{reply[::-1]}", browser)
    assert unknown.status == 404
    for line in ("GET /api/chat?message=x", "POST /api/chat"):
        assert (await chat.raw(line, HTML, body=b'{"message": "x"}')).status == 406


def turn(text: str, chat: str = "c", **more: object) -> bytes:
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
        {"type": "text-delta", "id": "0", "delta": "a"},
        {"type": "text-delta", "id": "0", "delta": "\n"},
        {"type": "text-end", "id": "0"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]
    again = await chat.raw("GET /api/ui/c/stream")
    assert again.body == answer.body
    assert (await chat.raw("GET /api/ui/d/stream")).status == 204


async def test_ui_messages_tell_how_they_ended() -> None:
    failing = Scripted("so", BackendFailed("No more."))
    async with inside(Settings(pace=0), backend=failing) as chat:
        answer = await chat.raw("POST /api/ui", body=turn("x"))
        assert told(answer.body)[-2:] == [
            {"type": "text-end", "id": "0"},
            {"type": "error", "errorText": "No more."},
        ]
    async with inside(Settings(pace=0), backend=Scripted(asyncio.Event())) as chat:
        reading = asyncio.create_task(chat.raw("POST /api/ui", body=turn("x")))
        await eventually(lambda: chat.replies.running)
        again = asyncio.create_task(chat.raw("POST /api/ui", body=turn("y")))
        assert told((await reading).body)[-1] == {
            "type": "abort",
            "reason": "It was stopped on request.",
        }
        await chat.json("POST", f"/api/chat/{await running(chat)}/stop")
        await again


async def running(chat: Inside) -> str:
    """The id of the chat's reply that runs."""
    reply_id = ""
    async with chat.session.get(f"{chat.url}/api/ui/c/stream") as response:
        reply_id = response.headers["X-Reply-Id"]
    return reply_id


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
        mine = await chat.raw("GET /api/ui/c/stream", "X-User: ann")
        assert mine.status == 200
        assert (await chat.raw("GET /api/ui/c/stream", "X-User: bob")).status == 204
