"""A reply ends on every transport, whatever its backend says of the end or however long it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.model import Finish
from chatsvc.problems import BackendFailed
from chatsvc.settings import Settings

from .running import inside

UNSENDABLE: dict[str, Any] = {"total_tokens": 3, "\ud800": "\udfff", "x": {1j}}


async def answer(messages: list[dict[str, str]]) -> AsyncIterator[str | Finish]:
    """Do what the message says."""
    yield "ab\n"
    kind = messages[-1]["content"]
    if kind == "fails":
        raise BackendFailed("half \ud83d of a pair")
    if kind == "takes too long":
        await asyncio.Event().wait()
    yield Finish("\ud800", UNSENDABLE)


@pytest.mark.parametrize(
    ("message", "state", "detail"),
    [
        ("fails", "failed", "half \ufffd of a pair"),
        ("ends", "done", ""),
        ("takes too long", "failed", "The backend answer did not come to its end in"),
    ],
)
async def test_a_reply_ends_on_every_transport(
    message: str, state: str, detail: str
) -> None:
    seconds = 0.2 if message == "takes too long" else 60.0
    async with inside(Settings(max_seconds=seconds), backend=answer) as chat:
        session, url = chat.session, chat.url
        failed = state == "failed"
        async with asyncio.timeout(20):
            body = {"message": message}
            async with session.post(f"{url}/api/chat", json=body) as response:
                events = (await response.read()).decode()
                reply = response.headers["X-Reply-Id"]
            assert events.endswith("data: [DONE]\n\n")
            assert ("event: failed\n" in events, detail in events) == (failed, True)
            # Each way in which it is read again, to the same end.
            assert (await chat.read(reply)).body.endswith(b"data: [DONE]\n\n")
            text = await chat.raw(f"GET /api/chat/{reply}", "Accept: text/plain")
            assert (text.body, text.complete) == (b"ab\n", not failed)
            poll = await chat.json("GET", f"/api/chat/{reply}?after=0&wait=20")
            assert (poll["text"], poll["state"]) == ("ab\n", state)
            whole = await chat.json("POST", "/api/chat", message)
            assert (whole["text"], whole["state"]) == ("ab\n", state)
            messages = [{"role": "user", "content": message}]
            asked = {"messages": messages, "stream_options": {"include_usage": True}}
            async with session.post(
                f"{url}/v1/chat/completions", json={**asked, "stream": True}
            ) as response:
                *_, last, end = (await response.text()).split("\n\n")[:-1]
            assert end == "data: [DONE]"
            told = json.loads(last.removeprefix("data: "))
            if failed:
                assert detail in told["error"]["message"]
            else:
                assert told["usage"] == {"total_tokens": 3, "\ufffd": "\ufffd"}
            async with session.post(
                f"{url}/v1/chat/completions", json=asked
            ) as response:
                assert response.status == (502 if failed else 200)
                await response.json()
            parts = [{"type": "text", "text": message}]
            asked = {"id": "c", "messages": [{"role": "user", "parts": parts}]}
            async with session.post(f"{url}/api/ui", json=asked) as response:
                assert (await response.text()).endswith("data: [DONE]\n\n")
            async with session.ws_connect(
                f"{url}/ws/chat", protocols=["chatsvc.v1"]
            ) as socket:
                await socket.send_json({"read": reply, "after": 0})
                frames = [await socket.receive_json() for _ in range(3 + failed)]
                frames += [await socket.receive_json()]
            assert frames[-1] == {"id": f"{reply}:end", "data": "[DONE]"}
            async with session.ws_connect(f"{url}/ws/chat") as socket:
                await socket.send_json({"message": message})
                assert "".join([await socket.receive_str() for _ in "ab\n"]) == "ab\n"
                last_frame = await socket.receive()
            assert last_frame.data == (4502 if failed else "[DONE]")
