"""UI message streams, byte for byte (PROTOCOL.md section 5)."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from redis import Redis

from chatsvc.model import Context, Reasoning
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

from ..redis_server import RedisServer
from ..ui_page import Page, texts
from .parts import Pieces
from .running import Inside, Scripted, eventually, inside, parse

CHAT = "0123456789abcdef"
"""The id of a chat, as long as those of `useChat` are."""


def turn(text: str, chat: str = CHAT, **more: object) -> bytes:
    message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return json.dumps({"id": chat, "messages": [message], **more}).encode()


def told(body: bytes) -> list[dict[str, Any]]:
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
        {"type": "message-metadata", "messageMetadata": {"finishReason": "stop"}},
        {"type": "finish-step"},
        {"type": "finish"},
    ]
    assert (await chat.raw(f"GET /api/ui/{CHAT[::-1]}/stream")).status == 204


async def test_ui_messages_tell_how_they_ended() -> None:
    failing = Scripted("so", BackendFailed("No more."))
    async with inside(Settings(pace=0), backend=failing) as chat:
        answer = await chat.raw("POST /api/ui", body=turn("x"))
        assert told(answer.body)[-3:] == [
            {"type": "text-end", "id": "0"},
            {"type": "message-metadata", "messageMetadata": {"finishReason": "error"}},
            {"type": "error", "errorText": "No more."},
        ]
    async with inside(Settings(pace=0), backend=Scripted(asyncio.Event())) as chat:
        reader, _ = await chat.connect(
            "POST /api/ui", "Connection: close", body=turn("x")
        )
        begun = await asyncio.wait_for(reader.readuntil(b"start-step"), 10)
        again = asyncio.create_task(chat.raw("POST /api/ui", body=turn("y")))
        stopped = parse(begun + await asyncio.wait_for(reader.read(), 10))
        assert told(stopped.body)[-1] == {"type": "abort"}
        await chat.json("POST", f"/api/chat/{await running(chat)}/stop")
        await again


async def test_characters_that_come_one_by_one_are_in_their_blocks() -> None:
    """With nothing but text to come, each takes the short way of a single character."""
    gates = asyncio.Event(), asyncio.Event()
    script = (gates[0], "ab\n", gates[1], Reasoning("hm"), "cdef")
    async with inside(Settings(pace=0.02), backend=Pieces(*script)) as chat:
        reader, _ = await chat.connect(
            "POST /api/ui", "Connection: close", body=turn("x")
        )
        begun = b""
        for gate, shown in zip(gates, (b"start-step", b'"b"'), strict=True):
            begun += await asyncio.wait_for(reader.readuntil(shown), 10)
            gate.set()
        body = parse(begun + await asyncio.wait_for(reader.read(), 20)).body
        page = Page()
        page.take(body)
        kinds = ["step-start", "text", "reasoning", "text"]
        assert [part["type"] for part in page.parts] == kinds
        assert [part["text"] for part in page.parts[1:]] == ["ab\n", "hm", "cdef"]


async def running(chat: Inside) -> str:
    """The id of the chat's reply that runs, once there is one."""
    async with asyncio.timeout(10):
        while True:
            async with chat.session.get(f"{chat.url}/api/ui/{CHAT}/stream") as response:
                if response.status == 200:
                    return str(response.headers["X-Reply-Id"])


# ---------------------------------------------------------------------- given again, until a page has the end


async def cut_off(chat: Inside, body: bytes, until: bytes) -> str:
    """Send a turn, and break the connection off once something has come; the reply's id."""
    reader, writer = await chat.connect("POST /api/ui", body=body)
    data = await asyncio.wait_for(reader.readuntil(until), 10)
    writer.transport.abort()
    (line,) = [line for line in data.split(b"\r\n") if line.startswith(b"X-Reply-Id")]
    return line.partition(b": ")[2].decode()


async def test_a_reply_is_given_again_until_a_page_has_its_end() -> None:
    gate = asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("so.", gate, "!")) as chat:
        reply = await cut_off(chat, turn("x"), b'"so"')
        # One that breaks off as well changes nothing.
        reader, writer = await chat.connect(f"GET /api/ui/{CHAT}/stream")
        await asyncio.wait_for(reader.readuntil(b'"so"'), 10)
        writer.transport.abort()
        gate.set()
        again = await chat.raw(f"GET /api/ui/{CHAT}/stream")
        assert (again.status, again.reply, again.complete) == (200, reply, True)
        deltas = [c["delta"] for c in told(again.body) if "delta" in c]
        assert "".join(deltas) == "so.!"
        assert (await chat.raw(f"GET /api/ui/{CHAT}/stream")).status == 204
        # It is there all the same, for whoever asks for the reply.
        assert (await chat.json("GET", f"/api/chat/{reply}"))["text"] == "so.!"


async def test_whoever_sent_the_turn_has_its_end(chat: Inside) -> None:
    await chat.raw("POST /api/ui", body=turn("x"))
    assert (await chat.raw(f"GET /api/ui/{CHAT}/stream")).status == 204
    # The next turn is another reply.
    await cut_off(chat, turn("y"), b'"y"')


async def test_the_end_counts_before_the_body_has_ended() -> None:
    """Whoever asks at once, when the last chunk has come, is not given the reply again."""
    async with inside(Settings(pace=0)) as chat:
        for _ in range(20):
            reader, writer = await chat.connect("POST /api/ui", body=turn("x"))
            await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
            assert (await chat.raw(f"GET /api/ui/{CHAT}/stream")).status == 204
            writer.close()


async def test_other_readers_of_the_reply_do_not_count() -> None:
    gate = asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("so.", gate)) as chat:
        reply = await cut_off(chat, turn("x"), b'"so"')
        gate.set()
        for view in ("", "?view=parts"):
            assert (await chat.raw(f"GET /api/chat/{reply}{view}")).complete
        assert (await chat.raw(f"GET /api/ui/{CHAT}/stream")).status == 200


async def test_a_turn_that_ends_late_does_not_hide_the_next_one() -> None:
    """Its end counts for its own reply, also when the chat has another one by then."""
    async with inside(
        Settings(pace=0), backend=Scripted("so.", asyncio.Event())
    ) as chat:
        first = asyncio.create_task(chat.raw("POST /api/ui", body=turn("x")))
        one = await running(chat)
        reader, writer = await chat.connect("POST /api/ui", body=turn("y"))
        await asyncio.wait_for(reader.readuntil(b'"so"'), 10)
        assert told((await first).body)[-1] == {"type": "abort"}
        two = await running(chat)
        assert two != one
        writer.transport.abort()
        await chat.json("POST", f"/api/chat/{two}/stop")


async def test_an_end_that_was_not_taken_does_not_count() -> None:
    long = Scripted("x" * (1 << 20))
    async with inside(Settings(pace=0, max_reply=1 << 21), backend=long) as chat:
        reply = await cut_off(chat, turn("x"), b'"xx')
        await eventually(lambda: not chat.replies.running)
        # It takes little, and is gone when the rest has been written.
        reader, writer = await chat.connect(f"GET /api/ui/{CHAT}/stream")
        await asyncio.wait_for(reader.readuntil(b'"xx'), 10)
        await eventually(lambda: not chat.replies.running)
        writer.transport.abort()
        again = await chat.raw(f"GET /api/ui/{CHAT}/stream")
        assert (again.status, again.reply) == (200, reply)
        page = Page()
        page.take(again.body)
        assert texts(page) == "x" * (1 << 20)
        assert (await chat.raw(f"GET /api/ui/{CHAT}/stream")).status == 204


async def test_an_end_that_still_waits_to_be_taken_does_not_count() -> None:
    """All has been written, and the client, which takes nothing, has left a little of it to the service."""

    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        yield "x" * int(messages[0]["content"])

    loop = asyncio.get_running_loop()
    async with inside(Settings(pace=0), backend=answer, send_buffer=4096) as chat:
        for size in range(4096, 1 << 18, 2048):
            name = f"{size:016}"
            body = turn(str(size), name)
            lines = [
                "POST /api/ui HTTP/1.1",
                f"Host: {chat.host}:{chat.port}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
            ]
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, (chat.host, chat.port))
                request = "\r\n".join([*lines, "", ""]).encode() + body
                await loop.sock_sendall(client, request)
                waiting = await settled(chat)
                if not waiting:
                    continue
                assert waiting < 16_384
                # When it is closed, it resets the connection.
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            again = await chat.raw(f"GET /api/ui/{name}/stream")
            assert again.status == 200 and again.complete
            return
        pytest.fail("the kernels take any number of bytes")


async def settled(chat: Inside) -> int:
    """The bytes that wait to be sent, once they stay the same and the reply has ended."""
    await eventually(lambda: chat.connections)
    known, same = -1, 0
    while same < 20:
        await asyncio.sleep(0.005)
        waiting = max(chat.buffers, default=0)
        same = same + 1 if waiting == known and not chat.replies.running else 0
        known = waiting
    return known


async def test_all_of_it_holds_on_every_node(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = redis_server.database(2)
    with Redis.from_url(address) as redis:
        redis.flushdb()
    monkeypatch.setenv("CHATSVC_STORE", address)
    gate = asyncio.Event()
    backend = Scripted("so.", gate)
    async with (
        inside(Settings(pace=0), backend=backend) as one,
        inside(Settings(pace=0), backend=backend) as other,
    ):
        await cut_off(one, second_turn(), b'"so"')
        page = Page()
        reading = asyncio.create_task(other.raw(f"GET /api/ui/{CHAT}/stream"))
        await eventually(lambda: other.replies.known)
        gate.set()
        page.take((await reading).body)
        assert (page.id, page.parts[1]["output"]) == (OWN, CALL["output"])
        for node in (one, other):
            assert (await node.raw(f"GET /api/ui/{CHAT}/stream")).status == 204
        gate.clear()
        sent = asyncio.create_task(one.raw("POST /api/ui", body=second_turn()))
        runs = await running(other)
        stopped = await other.json("POST", f"/api/chat/{OWN}/stop")
        assert (stopped["reply"], stopped["state"]) == (runs, "stopped")
        assert told((await sent).body)[-1] == {"type": "abort"}
        await eventually(lambda: not backend.open)


# ---------------------------------------------------------------------- a message goes on


OWN = "message-of-the-page"
CALL = {
    "type": "tool-f",
    "toolCallId": "1",
    "state": "output-available",
    "input": {"a": 1},
    "output": {"b": [2]},
}


def second_turn(text: str = "x", own: str = OWN, **more: object) -> bytes:
    """A turn whose last message is the assistant's, with the result of a call."""
    asked = {"id": "1", "role": "user", "parts": [{"type": "text", "text": text}]}
    said = {"id": own, "role": "assistant", "parts": [{"type": "step-start"}, CALL]}
    return json.dumps({"id": CHAT, "messages": [asked, said], **more}).encode()


async def test_the_second_turn_goes_on_with_the_pages_message() -> None:
    gate = asyncio.Event()
    backend = Scripted("so.", gate)
    async with inside(Settings(pace=0), backend=backend) as chat:
        reply = await cut_off(chat, second_turn(), b'"so"')
        assert reply != OWN
        gate.set()
        page = Page()
        again = await chat.raw(f"GET /api/ui/{CHAT}/stream")
        page.take(again.body)
        assert page.id == OWN
        kinds = ["step-start", "tool-f", "step-start", "text"]
        assert [part["type"] for part in page.parts] == kinds
        assert page.parts[1]["output"] == CALL["output"]
        assert not page.ran
        assert backend.asked == [
            [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a":1}'},
                        }
                    ],
                },
                {"role": "tool", "content": '{"b":[2]}', "tool_call_id": "1"},
            ]
        ]


async def test_large_earlier_steps_wait_for_a_page_that_takes_them_slowly() -> None:
    """What the page sent is limited by the body alone; of it no more waits than of any stream."""
    gate = asyncio.Event()
    settings = Settings(pace=0, max_message=1 << 20)
    backend = Scripted("so.", gate)
    async with inside(settings, backend=backend, send_buffer=4096) as chat:
        large = [
            {**CALL, "toolCallId": str(number), "output": "x" * 100_000}
            for number in range(20)
        ]
        asked = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "x"}]}
        said = {"id": OWN, "role": "assistant", "parts": large}
        body = json.dumps({"id": CHAT, "messages": [asked, said]}).encode()
        await cut_off(chat, body, b'"so"')
        reader, _ = await chat.connect(
            f"GET /api/ui/{CHAT}/stream", "Connection: close"
        )
        begun = await asyncio.wait_for(reader.readuntil(b'"start"'), 10)
        gate.set()
        await eventually(lambda: not chat.replies.running)
        assert max(chat.buffers) < 300_000
        whole = parse(begun + await asyncio.wait_for(reader.read(), 20))
        page = Page()
        page.take(whole.body)
        assert [part["output"] for part in page.parts[:-2]] == ["x" * 100_000] * 20
        assert texts(page) == "so."


async def test_a_stop_by_the_messages_id_finds_the_turn_that_runs() -> None:
    backend = Scripted("so.", asyncio.Event())
    async with inside(Settings(pace=0), backend=backend) as chat:
        # The message of a first turn has its reply's id; further turns go on with it.
        first = asyncio.create_task(chat.raw("POST /api/ui", body=turn("x")))
        message = await running(chat)
        await chat.json("POST", f"/api/chat/{message}/stop")
        await first
        for own in (message, OWN):
            sent = asyncio.create_task(
                chat.raw("POST /api/ui", body=second_turn(own=own))
            )
            runs = await running(chat)
            stopped = await chat.json("POST", f"/api/chat/{own}/stop")
            assert (stopped["reply"], stopped["state"]) == (runs, "stopped")
            assert told((await sent).body)[0] == {"type": "start", "messageId": own}
            # Twice is no error.
            assert await chat.json("POST", f"/api/chat/{own}/stop") == stopped
        await eventually(lambda: not backend.open)


async def test_a_message_is_stopped_by_its_user_only() -> None:
    async def who(request: web.Request) -> str | None:
        return request.headers.get("X-User")

    backend = Scripted("so.", asyncio.Event())
    async with inside(Settings(pace=0), backend=backend, authorize=who) as chat:
        body = second_turn(own="7")
        sent = asyncio.create_task(chat.raw("POST /api/ui", "X-User: ann", body=body))
        await eventually(lambda: backend.open)
        async with asyncio.timeout(10):
            while (
                await chat.raw("POST /api/chat/7/stop", "X-User: ann")
            ).status == 404:
                await asyncio.sleep(0)
        await sent
        assert (await chat.raw("POST /api/chat/7/stop", "X-User: bob")).status == 404


async def test_a_short_id_that_strangers_share_stops_nothing() -> None:
    backend = Scripted("so.", asyncio.Event())
    async with inside(Settings(pace=0), backend=backend) as chat:
        sent = asyncio.create_task(chat.raw("POST /api/ui", body=second_turn(own="7")))
        reply = await running(chat)
        assert (await chat.raw("POST /api/chat/7/stop")).status == 404
        await chat.json("POST", f"/api/chat/{reply}/stop")
        await sent


# ---------------------------------------------------------------------- what is asked


async def test_options_go_to_the_backend_as_on_the_other_routes() -> None:
    seen: list[dict[str, object]] = []

    async def answer(messages: object, context: Context) -> AsyncIterator[str]:
        seen.append(context.options)
        yield "so"

    async with inside(Settings(pace=0), backend=answer) as chat:
        tools = [{"type": "function", "function": {"name": "f"}}]
        await chat.raw("POST /api/ui", body=turn("x", options={"tools": tools}))
        await chat.raw("POST /api/ui", body=turn("x", tools=tools))
        assert seen == [{"tools": tools}, {}]
        refused = await chat.raw("POST /api/ui", body=turn("x", options={"n": 2}))
        assert refused.status == 422
        assert "options.n" in json.loads(refused.body)["detail"]


async def test_what_the_backend_does_not_take_is_refused_by_its_place(
    chat: Inside,
) -> None:
    parts = [{"type": "file", "url": "data:,x", "mediaType": "image/png"}]
    body = {"id": "c", "messages": [{"role": "user", "parts": parts}]}
    answer = await chat.raw("POST /api/ui", body=json.dumps(body).encode())
    assert answer.status == 422
    detail = json.loads(answer.body)["detail"]
    assert detail.startswith("messages[0].parts[0] ") and "images" in detail
    answer = await chat.raw("POST /api/ui", body=second_turn())
    assert answer.status == 422
    assert json.loads(answer.body)["detail"].startswith("messages[1].parts[1] ")


async def test_files_have_a_limit_of_their_own_also_those_of_the_assistant() -> None:
    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        yield str(len(messages[0]["images"][0]["image_url"]["url"]))

    picture = {
        "type": "file",
        "mediaType": "image/png",
        "url": "data:," + "A" * 100_000,
    }
    asked = {"role": "user", "parts": [{"type": "text", "text": "x"}]}
    body = {"id": "c", "messages": [{"role": "assistant", "parts": [picture]}, asked]}
    settings = Settings(pace=0, max_message=1024, max_files=150_000)
    async with inside(settings, backend=answer) as chat:
        answered = await chat.raw("POST /api/ui", body=json.dumps(body).encode())
        page = Page()
        page.take(answered.body)
        assert texts(page) == "100006"
        said = {"role": "assistant", "parts": [{"type": "text", "text": "A" * 100_000}]}
        body["messages"] = [said, asked]
        answered = await chat.raw("POST /api/ui", body=json.dumps(body).encode())
        assert answered.status == 413


async def test_parts_that_are_for_the_page_are_left_out(chat: Inside) -> None:
    parts = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "a"},
        {"type": "data-x", "data": 1},
        {"type": "source-url", "sourceId": "1", "url": "https://example.org/"},
        {"type": "of-a-later-version"},
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

    backend = Scripted("so.", asyncio.Event())
    async with inside(Settings(pace=0), authorize=who, backend=backend) as chat:
        sent = asyncio.create_task(
            chat.raw("POST /api/ui", "X-User: ann", body=turn("x"))
        )
        line = f"GET /api/ui/{CHAT}/stream"
        reader, _ = await chat.connect("POST /api/ui", "X-User: bob", body=turn("y"))
        await asyncio.wait_for(reader.readuntil(b'"so"'), 10)
        replies = []
        for user in ("ann", "bob"):
            async with asyncio.timeout(10):
                while True:
                    url = f"{chat.url}/api/ui/{CHAT}/stream"
                    headers = {"X-User": user}
                    async with chat.session.get(url, headers=headers) as response:
                        if response.status == 200:
                            replies.append(response.headers["X-Reply-Id"])
                            break
        assert len(set(replies)) == 2
        assert (await chat.raw(line, "X-User: eve")).status == 204
        for user, reply in zip(("ann", "bob"), replies, strict=True):
            await chat.raw(f"POST /api/chat/{reply}/stop", f"X-User: {user}")
        await sent


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
