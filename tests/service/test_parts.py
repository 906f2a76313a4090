"""The parts view over each transport (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.model import (
    Data,
    Extra,
    File,
    Finish,
    Piece,
    Reasoning,
    Source,
    ToolCall,
    ToolResult,
)
from chatsvc.problems import BackendFailed
from chatsvc.transports import writing
from tests.parts_script import only_text, scripts

from ..redis_server import RedisServer
from .parts import (
    JSON,
    NDJSON,
    READERS,
    Event,
    Pieces,
    Reader,
    by_sse,
    frame_event,
    sse_events,
    units,
)
from .running import Chat, Inside, done, events, eventually, inside, without_comments

USAGE = {"total_tokens": 7}
TOLD = (
    Reasoning("Let me see."),
    "你好",
    ToolCall("call_1", "search", '{"q":"x"}'),
    Finish("tool_calls", USAGE),
)
"""The example of PROTOCOL.md."""

EVERYTHING: tuple[Piece, ...] = (
    Reasoning("hm\u2028m\r\n"),
    Reasoning(signature="s1"),
    "e",
    Source("https://a.example/", "A", 0, 1),
    "\u0301x\r\n",
    ToolCall("c1", "f", '{"a":'),
    ToolCall("c2", "g", metadata={"sig": [1]}),
    ToolCall("c1", "", "1}"),
    "👨‍👩‍👧",
    ToolResult("c1", {"n": None}),
    ToolResult("c3", [], error=True),
    File("image/png", "data:,x", "x.png"),
    Data("status", {"at": 1}, "d"),
    Data("status", 2, "d"),
    Data("status", 3),
    Extra({"refusal": "no"}),
    Reasoning(signature="s2"),
    "end",
    Reasoning("left open"),
)
"""Every kind of part, with and without each member."""

BODY = json.dumps({"message": "hi"}).encode()


def told(reply: str) -> list[tuple[str, str]]:
    """The places and data of the events of `TOLD`."""
    return [
        ("@1", '{"type":"part","part":1,"kind":"reasoning"}'),
        ("@12", '{"type":"delta","part":1,"text":"Let me see."}'),
        ("@13", '{"type":"close","part":1}'),
        ("@15", '{"type":"delta","part":0,"text":"你好"}'),
        (
            "@16",
            '{"type":"part","part":2,"kind":"tool_call","id":"call_1","name":"search"}',
        ),
        ("@25", '{"type":"delta","part":2,"text":"{\\"q\\":\\"x\\"}"}'),
        ("@26", '{"type":"close","part":2}'),
        (
            "end",
            (
                '{"type":"end","state":"done","finish_reason":"tool_calls",'
                '"usage":{"total_tokens":7}}'
            ),
        ),
    ]


async def finished(chat: Inside) -> str:
    """A reply that has ended."""
    answer = await chat.raw("POST /api/chat", JSON, body=BODY)
    assert json.loads(answer.body)["state"] == "done"
    return answer.reply


# ---------------------------------------------------------------------- the bytes


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_server_sent_events(version: str) -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        line = f"GET /api/chat/{reply}?view=parts"
        answer = await chat.raw(line, version=version)
        assert answer.body.startswith(b": t=")
        expected = "".join(f"id: {reply}:{p}\ndata: {d}\n\n" for p, d in told(reply))
        assert without_comments(answer.body) == expected.encode() + done(reply)
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["X-Reply-Id"] == reply
        assert answer.headers["X-Accel-Buffering"] == "no"
        await chat.nothing_left()


async def test_lines_of_json() -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        answer = await chat.raw(f"GET /api/chat/{reply}?view=parts", NDJSON)
        expected = [f'{{"id":"{reply}:{p}","data":{d}}}' for p, d in told(reply)]
        expected.append(f'{{"id":"{reply}:end","data":"[DONE]"}}')
        assert answer.body.decode().split("\n") == [*expected, ""]
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        await chat.nothing_left()


async def test_frames() -> None:
    async with (
        inside(backend=Pieces(*TOLD)) as chat,
        chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v2"]
        ) as socket,
    ):
        await socket.send_json({"message": "hi", "key": "k"})
        first = await socket.receive_json(timeout=10)
        assert first.pop("key") == "k"
        reply = first["id"].partition(":")[0]
        got = [frame_event(reply, first)]
        while got[-1].data != "[DONE]":
            got.append(
                frame_event(reply, await socket.receive_json(timeout=10)),
            )
        whole = [(e.place, e.data) for e in got]
        # The pieces may arrive before the first look or behind it.
        assert units(got, 0) == units(await by_sse(chat, reply, "0"), 0)
        assert whole[-2] == ("end", json.loads(told(reply)[-1][1]))
        await socket.close()
        await chat.nothing_left()


@pytest.mark.parametrize("line", ["POST /api/chat?", "GET /api/chat?message=hi&"])
async def test_a_reply_that_is_started_in_this_view(line: str) -> None:
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        answer = await chat.raw(f"{line}view=parts", body=BODY)
        body = without_comments(answer.body)
        announced = f"id: {answer.reply}:@0\n\n".encode()
        assert body.startswith(announced) == line.startswith("GET")
        assert body.count(announced) == line.startswith("GET")
        got = sse_events(
            answer.reply, answer._replace(body=body.removeprefix(announced))
        )
        whole = await by_sse(chat, answer.reply, "0")
        assert units(got, 0) == units(whole, 0)
        assert got[-2:] == whole[-2:]


async def test_each_kind_has_its_members() -> None:
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        reply = await finished(chat)
        got = await by_sse(chat, reply, "0")
    data = [event.data for event in got[:-1]]
    assert [d for d in data if d["type"] == "part"] == [
        {"type": "part", "part": 1, "kind": "reasoning"},
        {
            "type": "part",
            "part": 2,
            "kind": "source",
            "url": "https://a.example/",
            "title": "A",
            "start": 0,
            "end": 1,
        },
        {"type": "part", "part": 3, "kind": "tool_call", "id": "c1", "name": "f"},
        {
            "type": "part",
            "part": 4,
            "kind": "tool_call",
            "id": "c2",
            "name": "g",
            "metadata": {"sig": [1]},
        },
        {
            "type": "part",
            "part": 5,
            "kind": "tool_result",
            "id": "c1",
            "result": {"n": None},
        },
        {
            "type": "part",
            "part": 6,
            "kind": "tool_result",
            "id": "c3",
            "result": [],
            "error": True,
        },
        {
            "type": "part",
            "part": 7,
            "kind": "file",
            "media_type": "image/png",
            "url": "data:,x",
            "name": "x.png",
        },
        {
            "type": "part",
            "part": 8,
            "kind": "data",
            "name": "status",
            "value": {"at": 1},
            "id": "d",
        },
        {
            "type": "part",
            "part": 9,
            "kind": "data",
            "name": "status",
            "value": 2,
            "id": "d",
        },
        {"type": "part", "part": 10, "kind": "data", "name": "status", "value": 3},
        {"type": "part", "part": 11, "kind": "extra", "value": {"refusal": "no"}},
        {"type": "part", "part": 12, "kind": "reasoning", "signature": "s2"},
        {"type": "part", "part": 13, "kind": "reasoning"},
    ]
    assert [d for d in data if d["type"] == "close"] == [
        {"type": "close", "part": 1, "signature": "s1"},
        {"type": "close", "part": 3},
        {"type": "close", "part": 4},
    ]
    texts: dict[int, str] = {}
    for d in data:
        if d["type"] == "delta":
            texts[d["part"]] = texts.get(d["part"], "") + d["text"]
    assert texts == {
        0: "e\u0301x\n👨‍👩‍👧end",
        1: "hm\u2028m\r\n",
        3: '{"a":1}',
        13: "left open",
    }


# ---------------------------------------------------------------------- cursors


@pytest.mark.parametrize("how", READERS)
async def test_resumed_at_every_offset(how: str) -> None:
    """Law 2 and 3: each unit exactly once, in order, whatever has brought the first ones."""
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        reply = await finished(chat)
        whole = units(await by_sse(chat, reply, "0"), 0)
        kinds: dict[int, Any] = {}
        for offset in range(len(whole) + 1):
            got = await READERS[how](chat, reply, f"@{offset}")
            assert units(got, offset) == whole[offset:]
            resumed = [e for e in got if e.place != "end" and e.data.get("resumed")]
            assert [e.data for e in resumed] == [
                {**kinds[part], "resumed": True} for part in sorted(kinds)
            ]
            assert got[-1] == Event("end", "[DONE]")
            assert got[-2] == Event(
                "end", {"type": "end", "state": "done", "finish_reason": "stop"}
            )
            if offset < len(whole):
                _, part, what = whole[offset]
                if isinstance(what, dict):
                    if what["type"] == "close":
                        del kinds[part]
                    elif (
                        what["kind"] in ("tool_call", "reasoning")
                        and "signature" not in what
                    ):
                        kinds[part] = what


@pytest.mark.parametrize("how", READERS)
async def test_resumed_at_every_position(how: str) -> None:
    """It begins at the earliest offset with the position: what stands behind the text before."""
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        reply = await finished(chat)
        whole = units(await by_sse(chat, reply, "0"), 0)
        earliest = {0: 0}
        position = 0
        for offset, part, _ in whole:
            if part == 0:
                position += 1
                earliest[position] = offset
        text = only_text(list(EVERYTHING))
        assert position == len(text)
        for position, offset in earliest.items():
            got = await READERS[how](chat, reply, str(position))
            assert units(got, offset) == whole[offset:]


@pytest.mark.parametrize("how", ["header", "post", "query", "poll", "lines", "socket"])
async def test_an_offset_stands_for_its_position_in_the_views_of_text(how: str) -> None:
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        reply = await finished(chat)
        whole = units(await by_sse(chat, reply, "0"), 0)
        text = only_text(list(EVERYTHING))
        for offset in range(len(whole) + 1):
            position = sum(part == 0 for _, part, _ in whole[:offset])
            assert (
                await _text_behind(chat, how, reply, f"@{offset}") == (text[position:])
            )


async def _text_behind(chat: Chat, how: str, reply: str, after: str) -> str:
    url, cursor = f"/api/chat/{reply}", f"Last-Event-ID: {reply}:{after}"
    if how == "poll":
        got = await chat.json("GET", f"{url}?after={after}")
        assert type(got["after"]) is type(got["next"]) is int
        assert got["next"] == got["after"] + len(got["text"])
        return str(got["text"])
    if how == "socket":
        text = ""
        async with chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v1"]
        ) as socket:
            await socket.send_json({"read": reply, "after": after})
            while True:
                data = (await socket.receive_json(timeout=10))["data"]
                if data == "[DONE]":
                    return text
                text += data
    if how == "lines":
        answer = await chat.raw(f"GET {url}?after={after}", NDJSON)
        frames = [json.loads(line) for line in answer.body.decode().splitlines()]
        assert frames.pop()["data"] == "[DONE]"
        return "".join(frame["data"] for frame in frames)
    asks = {
        "header": (f"GET {url}", cursor),
        "post": ("POST /api/chat", cursor),
        "query": (f"GET {url}?after={after}",),
    }
    line, *headers = asks[how]
    answer = await chat.raw(line, "Accept: text/plain", *headers)
    assert answer.complete
    return answer.body.decode()


async def test_a_cursor_of_either_view_is_good_for_each_stream_of_characters() -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        answer = await chat.raw(f"GET /api/chat/{reply}", f"Last-Event-ID: {reply}:@14")
        assert without_comments(answer.body) == events(reply, "你好", 1) + done(reply)


async def test_the_cursor_of_the_end() -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        last = f"Last-Event-ID: {reply}:end"
        answer = await chat.raw(f"GET /api/chat/{reply}?view=parts", last)
        assert (answer.status, answer.body) == (204, b"")


async def test_behind_the_end_is_past_it_in_both_views() -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        for query in ["after=@27", "after=@27&view=parts", "after=3&view=parts"]:
            answer = await chat.raw(f"GET /api/chat/{reply}?{query}")
            assert answer.status == 409
            assert json.loads(answer.body)["type"] == "/problems/cursor-past-end"
        for version in ["chatsvc.v1", "chatsvc.v2"]:
            async with chat.session.ws_connect(
                chat.url + "/ws/chat", protocols=[version]
            ) as socket:
                await socket.send_json({"read": reply, "after": "@27", "key": "k"})
                refused = await socket.receive_json(timeout=10)
                assert refused["data"]["type"] == "/problems/cursor-past-end"
                assert (refused["event"], refused["id"]) == ("failed", reply)
                assert refused["key"] == "k"


@pytest.mark.parametrize("after", ["@", "@-1", "@x", "@1@", "@1234567890", "1@", "%20"])
@pytest.mark.any_store
async def test_a_malformed_offset_is_a_bad_cursor(after: str) -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        for line, *headers in [
            (f"GET /api/chat/{reply}?view=parts&after={after}",),
            (f"GET /api/chat/{reply}?after={after}",),
            (f"GET /api/chat/{reply}", f"Last-Event-ID: {reply}:{after}"),
            ("POST /api/chat?view=parts", f"Last-Event-ID: {reply}:{after}"),
        ]:
            answer = await chat.raw(line, *headers)
            assert answer.status == 400
            assert json.loads(answer.body)["type"] == "/problems/bad-cursor"


@pytest.mark.parametrize("after", ["5", "@", "@x", "@1\n", "", -1, "@1234567890", None])
@pytest.mark.parametrize("version", ["chatsvc.v1", "chatsvc.v2"])
@pytest.mark.any_store
async def test_a_malformed_place_in_a_frame_is_refused(
    version: str, after: object
) -> None:
    async with (
        inside(backend=Pieces(*TOLD)) as chat,
        chat.session.ws_connect(chat.url + "/ws/chat", protocols=[version]) as socket,
    ):
        await socket.send_json({"read": "r" * 22, "after": after})
        refused = await socket.receive_json(timeout=10)
        assert refused["event"] == "failed"
        assert refused["data"]["type"] == "/problems/invalid-request"
        assert "after" in refused["data"]["detail"]


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("query", "accept", "word"),
    [
        ("view=", "*/*", "view"),
        ("view=text", "*/*", "view"),
        ("view=Parts", "application/json", "view"),
        ("view=parts&ids=0", "text/event-stream", "ids=0"),
        ("view=parts&ids=0", "application/json", "ids=0"),
        ("view=parts", "text/plain", "text/plain"),
        ("view=x", "text/plain", "view"),
    ],
)
@pytest.mark.any_store
async def test_a_view_that_there_is_not(query: str, accept: str, word: str) -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        for line in [
            f"POST /api/chat?{query}",
            f"GET /api/chat?message=hi&{query}",
            f"GET /api/chat/{reply}?{query}",
        ]:
            answer = await chat.raw(line, f"Accept: {accept}", body=BODY)
            problem = json.loads(answer.body)
            assert answer.status == 422
            assert problem["type"] == "/problems/invalid-request"
            assert word in problem["detail"]
        assert (await chat.metrics())["chatsvc_replies_started_total"] == 1


@pytest.mark.parametrize("view", ["parts", "x"])
@pytest.mark.any_store
async def test_a_page_has_no_such_view(view: str) -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        reply = await finished(chat)
        answer = await chat.raw(
            f"GET /api/chat/{reply}?view={view}", "Accept: text/html"
        )
        assert answer.status == 422
        answer = await chat.raw(f"GET /api/chat/{reply}", "Accept: text/html")
        assert answer.status == 200


# ---------------------------------------------------------------------- ends


@pytest.mark.parametrize("how", READERS)
async def test_a_failure_is_in_the_end(how: str) -> None:
    script = (Reasoning("a"), BackendFailed("It broke."))
    async with inside(backend=Pieces(*script)) as chat:
        reply = (await chat.raw("POST /api/chat", body=BODY)).reply
        *_, end, last = await READERS[how](chat, reply, "0")
        problem = end.data.pop("problem")
        assert end == Event(
            "end", {"type": "end", "state": "failed", "finish_reason": "error"}
        )
        assert (problem["type"], problem["detail"]) == (
            "/problems/backend-failed",
            "It broke.",
        )
        assert last.data == "[DONE]"


@pytest.mark.parametrize("how", READERS)
async def test_a_stop_says_the_offset_and_leaves_open_what_is_open(how: str) -> None:
    script = (Reasoning("abc"), ToolCall("1", "f", "{"), asyncio.Event())
    async with inside(backend=Pieces("hi", *script)) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.opened[reply].log.offset == 9)
        reading = asyncio.create_task(READERS[how](chat, reply, "@8"))
        await eventually(lambda: chat.opened[reply].readers)
        stopped = await chat.json("POST", f"/api/chat/{reply}/stop")
        assert stopped == {"reply": reply, "state": "stopped", "next": 2, "offset": 9}
        mark = {"part": 2, "kind": "tool_call", "id": "1", "name": "f"}
        end = {"type": "end", "state": "stopped", "finish_reason": "stopped"}
        got = await reading
        if how == "poll":  # each poll begins with the marks of the open parts
            assert got.pop(2) == Event("@9", {"type": "part", **mark, "resumed": True})
        assert got == [
            Event("@8", {"type": "part", **mark, "resumed": True}),
            Event("@9", {"type": "delta", "part": 2, "text": "{"}),
            Event("end", end),
            Event("end", "[DONE]"),
        ]
        await chat.nothing_left()


async def test_a_stop_cuts_at_the_offset_that_is_out() -> None:
    script = ("abc", Reasoning("never"), asyncio.Event())
    async with inside(backend=Pieces(*script, pace=1000)) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.opened[reply].log.offset == 9)
        stopped = await chat.json("POST", f"/api/chat/{reply}/stop")
        assert (stopped["next"], stopped["offset"]) == (1, 1)
        whole = await by_sse(chat, reply, "0")
        assert whole[0] == Event("@1", {"type": "delta", "part": 0, "text": "a"})
        assert [event.place for event in whole] == ["@1", "end", "end"]


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
async def test_a_body_that_is_cut_by_draining_has_no_end(kind: str) -> None:
    script = (Reasoning("abc"), asyncio.Event())
    async with inside(backend=Pieces(*script)) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.opened[reply].log.offset == 4)
        headers = [] if kind == "sse" else [NDJSON]
        line = f"GET /api/chat/{reply}?view=parts"
        reading = asyncio.create_task(chat.raw(line, *headers))
        await eventually(lambda: chat.opened[reply].readers)
        chat.send_readers_away()
        answer = await reading
        assert b"abc" in answer.body and b"end" not in answer.body
        assert (b"retry: " in answer.body) == (kind == "sse")


async def test_a_socket_is_closed_when_the_node_leaves() -> None:
    script = (Reasoning("abc"), asyncio.Event())
    async with (
        inside(backend=Pieces(*script)) as chat,
        chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v2"]
        ) as socket,
    ):
        await socket.send_json({"message": "hi"})
        assert (await socket.receive_json(timeout=10))["data"]["kind"] == "reasoning"
        chat.send_readers_away()
        while not (await socket.receive(timeout=10)).type.name.startswith("CLOS"):
            pass
        assert socket.close_code == 1012


# ---------------------------------------------------------------------- sockets


async def test_the_key_is_on_the_first_frame_whatever_that_is() -> None:
    script = (Data("a", 1), asyncio.Event())
    async with (
        inside(backend=Pieces(*script)) as chat,
        chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v2"]
        ) as socket,
    ):
        await socket.send_json({"message": "hi", "key": "k"})
        first = await socket.receive_json(timeout=10)
        reply = first["id"].partition(":")[0]
        data = {"type": "part", "part": 1, "kind": "data", "name": "a", "value": 1}
        assert first == {"id": f"{reply}:@1", "data": data, "key": "k"}
        await socket.send_json({"stop": reply})
        end = await socket.receive_json(timeout=10)
        assert end["data"]["state"] == "stopped" and "key" not in end


async def test_the_key_of_an_empty_reply_is_on_its_end() -> None:
    async with (
        inside(backend=Pieces()) as chat,
        chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v2"]
        ) as socket,
    ):
        await socket.send_json({"message": "hi", "key": "k"})
        end = await socket.receive_json(timeout=10)
        assert (end["data"]["type"], end["key"]) == ("end", "k")
        assert "key" not in await socket.receive_json(timeout=10)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["chatsvc.v2", "chatsvc.v1"], "chatsvc.v2"),
        (["chatsvc.v1", "chatsvc.v2"], "chatsvc.v1"),
        (["chatsvc.v1"], "chatsvc.v1"),
        (["chatsvc.v3", "chatsvc.v2"], "chatsvc.v2"),
        (["chatsvc.v3"], None),
    ],
)
async def test_the_first_subprotocol_that_is_known(
    offered: list[str], chosen: str | None
) -> None:
    async with (
        inside(backend=Pieces()) as chat,
        chat.session.ws_connect(chat.url + "/ws/chat", protocols=offered) as socket,
    ):
        assert socket.protocol == chosen


async def test_several_replies_over_one_socket() -> None:
    async with (
        inside(backend=Pieces(*EVERYTHING, pace=0.001)) as chat,
        chat.session.ws_connect(
            chat.url + "/ws/chat", protocols=["chatsvc.v2"]
        ) as socket,
    ):
        for number in range(3):
            await socket.send_json({"message": "hi", "key": str(number)})
        got: dict[str, list[Event]] = {}
        ended = 0
        while ended < 3:
            frame = await socket.receive_json(timeout=10)
            frame.pop("key", None)
            reply = frame["id"].rpartition(":")[0]
            got.setdefault(reply, []).append(frame_event(reply, frame))
            ended += frame["data"] == "[DONE]"
        assert len(got) == 3
        for reply, own in got.items():
            assert units(own, 0) == units(await by_sse(chat, reply, "0"), 0)


# ---------------------------------------------------------------------- JSON


async def test_a_long_poll() -> None:
    go = asyncio.Event()
    async with inside(backend=Pieces(Reasoning("ab"), go, Reasoning("c"), "d")) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.opened[reply].log.offset == 3)
        path = f"/api/chat/{reply}?view=parts"
        mark = {"type": "part", "part": 1, "kind": "reasoning"}
        assert await chat.json("GET", path) == {
            "reply": reply,
            "state": "running",
            "finish_reason": None,
            "after": "@0",
            "next": "@3",
            "events": [
                {"id": f"{reply}:@1", "data": mark},
                {
                    "id": f"{reply}:@3",
                    "data": {"type": "delta", "part": 1, "text": "ab"},
                },
            ],
        }
        # The mark of an open part is no news.
        resumed = [{"id": f"{reply}:@3", "data": {**mark, "resumed": True}}]
        short = await chat.json("GET", f"{path}&after=@3&wait=0.01")
        assert (short["next"], short["events"]) == ("@3", resumed)
        waiting = asyncio.create_task(chat.json("GET", f"{path}&after=@3&wait=30"))
        await eventually(lambda: chat.opened[reply].readers)
        go.set()
        async with asyncio.timeout(10):
            news = await waiting
        assert (news["after"], news["events"][:1]) == ("@3", resumed)
        assert len(news["events"]) > 1
        await chat.read(reply)
        last = await chat.json("GET", f"{path}&after=1")
        end = {"type": "end", "state": "done", "finish_reason": "stop"}
        assert last == {
            "reply": reply,
            "state": "done",
            "finish_reason": "stop",
            "after": "@6",
            "next": "@6",
            "events": [{"id": f"{reply}:end", "data": end}],
        }
        await chat.nothing_left()


async def test_a_long_poll_gives_a_reply_of_many_parts_in_several_answers() -> None:
    script = [Data("n", number) for number in range(3000)]
    async with inside(backend=Pieces(*script, "end")) as chat:
        reply = await chat.start("hi")
        await chat.read(reply)
        path = f"/api/chat/{reply}?view=parts"
        states, events, after = [], [], "@0"
        while "done" not in states:
            found = await chat.json("GET", f"{path}&after={after}&wait=5")
            assert len(found["events"]) <= 1024 + 1
            states.append(found["state"])
            events += found["events"]
            after = found["next"]
        assert states == ["running", "running", "done"]
        got = [frame_event(reply, frame) for frame in events]
        assert [event.data.get("value") for event in got[:3000]] == list(range(3000))
        assert units(got, 0) == units(await by_sse(chat, reply, "0"), 0)
        whole = await chat.json("GET", f"{path}&after=@0")
        assert whole["next"] == "@1024"


@pytest.mark.parametrize("path", ["/api/chat?", "/api/chat?message=hi&"])
async def test_a_long_poll_may_begin_a_reply(path: str) -> None:
    async with inside(backend=Pieces(*TOLD)) as chat:
        method = "GET" if "message" in path else "POST"
        message = None if "message" in path else "hi"
        got = await chat.json(method, f"{path}view=parts&wait=0", message)
        assert got["after"] == "@0"
        rest = await READERS["poll"](chat, got["reply"], got["next"])
        begun = [frame_event(got["reply"], frame) for frame in got["events"]]
        before = units(begun, 0)
        reply = got["reply"]
        whole = units(await by_sse(chat, reply, "0"), 0)
        assert before + units(rest, len(before)) == whole


async def test_a_node_that_leaves_answers_a_poll_only_with_news() -> None:
    script = (Reasoning("abc"), asyncio.Event())
    async with inside(backend=Pieces(*script)) as chat:
        reply = await chat.start("hi")
        await eventually(lambda: chat.opened[reply].log.offset == 4)
        path = f"/api/chat/{reply}?view=parts&wait=30&after=@"
        waiting = asyncio.create_task(chat.json("GET", f"{path}4"))
        await eventually(lambda: chat.opened[reply].readers)
        chat.send_readers_away()
        assert (await waiting)["type"] == "/problems/draining"
        assert (await chat.json("GET", f"{path}3"))["next"] == "@4"


WHOLE = [
    {"part": 0, "kind": "text", "text": "e\u0301x\n👨‍👩‍👧end"},
    {"part": 1, "kind": "reasoning", "text": "hm\u2028m\r\n", "signature": "s1"},
    {
        "part": 2,
        "kind": "source",
        "url": "https://a.example/",
        "title": "A",
        "start": 0,
        "end": 1,
    },
    {"part": 3, "kind": "tool_call", "id": "c1", "name": "f", "text": '{"a":1}'},
    {
        "part": 4,
        "kind": "tool_call",
        "id": "c2",
        "name": "g",
        "metadata": {"sig": [1]},
        "text": "",
    },
    {"part": 5, "kind": "tool_result", "id": "c1", "result": {"n": None}},
    {"part": 6, "kind": "tool_result", "id": "c3", "result": [], "error": True},
    {
        "part": 7,
        "kind": "file",
        "media_type": "image/png",
        "url": "data:,x",
        "name": "x.png",
    },
    {"part": 9, "kind": "data", "name": "status", "value": 2, "id": "d"},
    {"part": 10, "kind": "data", "name": "status", "value": 3},
    {"part": 11, "kind": "extra", "value": {"refusal": "no"}},
    {"part": 12, "kind": "reasoning", "signature": "s2"},
    {"part": 13, "kind": "reasoning", "text": "left open", "open": True},
]


@pytest.mark.parametrize("line", ["POST /api/chat?", "GET /api/chat?message=hi&"])
async def test_the_whole_reply_as_json(line: str) -> None:
    async with inside(backend=Pieces(*EVERYTHING)) as chat:
        answer = await chat.raw(f"{line}view=parts", JSON, body=BODY)
        assert json.loads(answer.body) == {
            "reply": answer.reply,
            "state": "done",
            "finish_reason": "stop",
            "parts": WHOLE,
        }
        await chat.nothing_left()


async def test_the_whole_of_a_reply_without_text_has_usage_and_no_part_0() -> None:
    script = (ToolCall("1", "f"), Finish("tool_calls", USAGE))
    async with inside(backend=Pieces(*script)) as chat:
        answer = await chat.raw("POST /api/chat?view=parts", JSON, body=BODY)
        call = {"part": 1, "kind": "tool_call", "id": "1", "name": "f", "text": ""}
        assert json.loads(answer.body) == {
            "reply": answer.reply,
            "state": "done",
            "finish_reason": "tool_calls",
            "parts": [call],
            "usage": USAGE,
        }


async def test_the_whole_of_a_failed_reply_is_its_problem_with_what_there_is() -> None:
    script = (Reasoning("a"), "b", BackendFailed("It broke."))
    async with inside(backend=Pieces(*script)) as chat:
        answer = await chat.raw("POST /api/chat?view=parts", JSON, body=BODY)
        got = json.loads(answer.body)
        assert answer.status == 502
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert (got["type"], got["state"]) == ("/problems/backend-failed", "failed")
        assert got["problem"] == {name: got[name] for name in got["problem"]}
        assert [part["part"] for part in got["parts"]] == [0, 1]


async def test_a_snapshot_of_the_text_says_why_the_reply_failed() -> None:
    async with inside(backend=Pieces("a", BackendFailed("It broke."))) as chat:
        reply = await chat.start("hi")
        await chat.read(reply)
        got = await chat.json("GET", f"/api/chat/{reply}?after=1")
        assert got["problem"]["detail"] == "It broke."
        assert list(got)[-2:] == ["next", "problem"]
    async with inside(backend=Pieces("a")) as chat:
        reply = await finished(chat)
        assert "problem" not in await chat.json("GET", f"/api/chat/{reply}")


# ---------------------------------------------------------------------- the text alone


async def test_a_reply_without_text_is_empty_to_those_who_read_text() -> None:
    async with inside(backend=Pieces(Reasoning("hm"), ToolCall("1", "f"))) as chat:
        answer = await chat.raw("POST /api/chat?ids=0", body=BODY)
        assert answer.body == b"data: [DONE]\n\n"
        answer = await chat.raw("POST /api/chat", "Accept: text/plain", body=BODY)
        assert (answer.body, answer.complete) == (b"", True)
        async with chat.session.ws_connect(chat.url + "/ws/chat") as socket:
            await socket.send_json({"message": "hi"})
            assert (await socket.receive(timeout=10)).data == "[DONE]"


# ---------------------------------------------------------------------- nodes


@pytest.mark.parametrize("how", READERS)
async def test_another_node_goes_on_inside_a_thought_and_a_call(
    how: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATSVC_STORE", redis_server.database(2))
    first, second = asyncio.Event(), asyncio.Event()
    script = (Reasoning("abc"), first, Reasoning("de"), "x", ToolCall("1", "f", "{"))
    backend = Pieces(*script, second, ToolCall("1", "", "}"))
    async with inside(backend=backend) as a, inside(backend=Pieces()) as b:
        reply = await a.start("hi")
        await eventually(lambda: a.opened[reply].log.offset == 4)
        in_thought = asyncio.create_task(READERS[how](b, reply, "@3"))
        await eventually(lambda: reply in b.opened and b.opened[reply].readers)
        first.set()
        await eventually(lambda: a.opened[reply].log.offset == 10)
        in_call = asyncio.create_task(READERS[how](a, reply, "@9"))
        in_text = asyncio.create_task(READERS[how](b, reply, "1"))
        await eventually(lambda: a.opened[reply].readers)
        second.set()
        whole = units(await by_sse(b, reply, "0"), 0)
        assert len(whole) == 12
        for task, offset in [(in_thought, 3), (in_call, 9), (in_text, 8)]:
            got = [
                e for e in await task if e.place == "end" or not e.data.get("resumed")
            ]
            assert units(got, offset) == whole[offset:]
            assert got[-2].data["state"] == "done"


# ---------------------------------------------------------------------- limits


async def test_a_large_file_comes_whole_to_a_slow_reader() -> None:
    url = "data:image/png;base64," + "A" * (3 << 20)
    async with inside(
        backend=Pieces(File("image/png", url), "behind"), send_buffer=1 << 14
    ) as chat:
        answer = await chat.raw("POST /api/chat?view=parts", body=BODY)
        mark, text, *_ = sse_events(answer.reply, answer)
        assert mark.data["url"] == url
        assert text == Event("@7", {"type": "delta", "part": 0, "text": "behind"})


async def test_a_reader_that_takes_nothing_is_not_written_to_for_ever() -> None:
    script = [Reasoning("x" * 1000)] * 3000
    async with inside(backend=Pieces(*script), send_buffer=1 << 14) as chat:
        reply = await finished(chat)
        _, writer = await chat.connect(f"GET /api/chat/{reply}?view=parts")
        await eventually(lambda: max(chat.buffers) > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert max(chat.buffers) < 1 << 20
        writer.close()


async def test_a_reader_that_takes_nothing_of_a_large_file_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "STALLED_US", 200_000)
    file = File("image/png", "data:image/png;base64," + "A" * (3 << 20))
    async with inside(backend=Pieces(file), send_buffer=1 << 14) as chat:
        reply = await chat.start("hi")
        _, writer = await chat.connect(f"GET /api/chat/{reply}?view=parts")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: max(chat.buffers) > 1 << 20)
        await eventually(lambda: max(chat.buffers) < 1 << 20)
        writer.close()


# ---------------------------------------------------------------------- laws


@settings(max_examples=25)
@given(scripts, st.integers(0, 1 << 32).map(Random), st.sampled_from([0, 0.001]))
def test_any_script_by_any_transports_and_cursors(
    script: list[Piece], random: Random, pace: float
) -> None:
    """Law 2: by offsets each unit once, in order; by any cursors the text once by position."""

    async def scenario() -> None:
        async with inside(backend=Pieces(*script, pace=pace)) as chat:
            reply = await chat.start("hi")
            offset, position = 0, 0
            got: list[tuple[int, int, object]] = []
            text = ""
            over = False
            while not over:
                read: Reader = READERS[random.choice(list(READERS))]
                by_position = random.random() < 0.3
                after = str(position) if by_position else f"@{offset}"
                own = await read(chat, reply, after)
                keep = random.randrange(len(own) + 1)
                over = keep == len(own)
                begin = (await chat.replies.open(reply)).log.offset_at(position)
                new = units(own[:keep], begin if by_position else offset)
                if by_position and new:
                    got = [unit for unit in got if unit[0] < new[0][0]]
                got += new
                if new:
                    offset = new[-1][0]
                if by_position:
                    text = text[:position]
                text += "".join(str(what) for _, part, what in new if part == 0)
                position = len(text)
            whole = units(await by_sse(chat, reply, "0"), 0)
            assert got == whole
            assert text == only_text(script)

    asyncio.run(scenario())
