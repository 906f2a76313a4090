"""What a backend of one's own is told of the request (PROTOCOL.md section 8)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chatsvc.model import Context
from chatsvc.settings import BadSetting, Settings, read_settings

from .running import Inside, inside

pytestmark = pytest.mark.any_store

NAMED = Settings(pace=0, context_headers=("X-Tenant,x-locale", "X-Odd"))
GIVEN = {"x-tenant": "acme", "X-Locale": "你", "X-Other": "no"}
KNOWN = {"X-Tenant": "acme", "x-locale": "你"}


class Asked:
    """A function that notes its contexts."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []

    async def __call__(self, messages: Any, context: Context) -> AsyncIterator[str]:
        self.contexts.append(context)
        yield "a"


async def login(request: web.Request) -> str | None:
    return "ann"


async def test_each_way_to_ask_gives_the_same() -> None:
    asked = Asked()
    async with inside(NAMED, backend=asked, authorize=login) as chat:
        session = aiohttp.ClientSession(headers=GIVEN)
        async with session:
            replies = [
                await posted(session, f"{chat.url}/api/chat", {"message": "hi"}),
                await posted(
                    session,
                    f"{chat.url}/v1/chat/completions",
                    {"messages": [{"role": "user", "content": "hi"}], "seed": 5},
                ),
                await posted(
                    session,
                    f"{chat.url}/api/ui",
                    {
                        "id": "0123456789abcdef",
                        "messages": [
                            {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
                        ],
                    },
                ),
            ]
            async with session.get(f"{chat.url}/api/chat?message=hi") as answer:
                await answer.read()
                replies.append(answer.headers["X-Reply-Id"])
            for protocols in ([], ["chatsvc.v1"]):
                async with session.ws_connect(
                    f"{chat.url}/ws/chat", protocols=protocols
                ) as ws:
                    await ws.send_str('{"message":"hi"}')
                    await ws.receive(timeout=10)
        known: dict[str, Any] = {"user": "ann", "headers": KNOWN}
        assert asked.contexts[:4] == [
            Context(reply=replies[0], **known),
            Context(reply=replies[1], options={"seed": 5}, **known),
            Context(reply=replies[2], chat="0123456789abcdef", **known),
            Context(reply=replies[3], **known),
        ]
        assert [each.headers for each in asked.contexts[4:]] == [KNOWN] * 2


async def posted(session: aiohttp.ClientSession, url: str, body: object) -> str:
    async with session.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
        return answer.headers["X-Reply-Id"]


async def test_headers_that_come_twice_are_empty_or_no_utf_8() -> None:
    asked = Asked()
    async with inside(NAMED, backend=asked) as chat:
        await chat.raw(
            "POST /api/chat",
            "X-Tenant: a",
            "X-Tenant: b",
            "X-Odd:",
            body=json.dumps({"message": "hi"}).encode(),
        )
    assert asked.contexts[0].headers == {"X-Tenant": "a, b", "X-Odd": ""}


async def test_without_the_setting_there_are_none() -> None:
    asked = Asked()
    async with inside(Settings(pace=0), backend=asked) as chat:
        await told(chat)
    assert asked.contexts[0].headers == {}


async def told(chat: Inside) -> None:
    await chat.raw(
        "POST /api/chat", "X-Tenant: a", body=json.dumps({"message": "hi"}).encode()
    )


def test_the_setting_takes_names_of_headers() -> None:
    read = read_settings(Settings, {"context_headers": ["X-A, X-B", "X-C"]}, {})
    assert read.context_headers == ("X-A,X-B", "X-C")
    variable = {"CHATSVC_CONTEXT_HEADERS": "X-A, X-B X-C"}
    assert read_settings(Settings, {}, variable).context_headers == (
        "X-A",
        "X-B",
        "X-C",
    )
    for wrong in ("", "X A", "X-A,", "é"):
        with pytest.raises(BadSetting, match="--context-headers"):
            read_settings(Settings, {"context_headers": [wrong]}, {})
