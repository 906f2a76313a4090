"""The rendered blocks in a reply's own stream, over each transport (PROTOCOL.md section 4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from aiohttp import WSMsgType

from chatsvc.problems import BackendFailed, Overloaded
from chatsvc.rendering.block_messages import Answered, Asked
from chatsvc.settings import Settings
from chatsvc.transports import rendered_reply
from chatsvc.web.chat import RENDERED, RENDERER

from ..growing_markdown import Page, without_ends
from .parts import NDJSON
from .running import Chat, Inside, Scripted, eventually, inside, without_comments

pytestmark = pytest.mark.any_store

TEXT = """# Häding 你好

Some **bold text** and *it* with `code`, [a link](http://a.example/x) 😀 end.

- one
- two **b**

| a | b |
|---|---|
| 1 | **x** |

```py
def f(x):
    return 1
```

Tail $x^2$ and [late], foot[^1]

[late]: https://late.example
[^1]: The note.
"""

HTML = "Accept: text/html"

QUERY = "view=parts&render=html"

Found = list[dict[str, Any]]


def sse_data(body: bytes) -> Found:
    """The data of the events of a stream, but for `[DONE]`; those of blocks have no id."""
    found: Found = []
    for event in without_comments(body).decode().split("\n\n"):
        *names, data = event.split("\n")
        if data.startswith("data: {"):
            found.append(json.loads(data.removeprefix("data: ")))
            assert bool(names) == (found[-1]["type"] != "block")
            if names:
                found[-1]["id"] = names[0].rpartition(":")[2]
    return found


def frames_data(reply: str, frames: list[dict[str, Any]]) -> Found:
    found: Found = []
    for frame in frames:
        if frame["data"] != "[DONE]":
            is_block = frame["data"]["type"] == "block"
            assert frame.keys() == {"reply" if is_block else "id", "data"}
            assert frame.get("reply", reply) == reply
            found.append(frame["data"])
    return found


async def by_sse(chat: Chat, reply: str, more: str) -> Found:
    answer = await chat.raw(f"GET /api/chat/{reply}?{QUERY}{more}")
    assert answer.status == 200 and answer.complete
    return sse_data(answer.body)


async def by_post(chat: Chat, reply: str, more: str) -> Found:
    cursor = f"Last-Event-ID: {reply}:0"
    answer = await chat.raw(f"POST /api/chat?{QUERY}{more}", cursor)
    assert answer.status == 200 and answer.complete
    return sse_data(answer.body)


async def by_ndjson(chat: Chat, reply: str, more: str) -> Found:
    answer = await chat.raw(f"GET /api/chat/{reply}?{QUERY}{more}", NDJSON)
    assert answer.complete
    return frames_data(reply, [json.loads(line) for line in answer.body.splitlines()])


async def by_socket(chat: Chat, reply: str, more: str) -> Found:
    frames: list[dict[str, Any]] = []
    url = chat.url + "/ws/chat"
    async with chat.session.ws_connect(url, protocols=["chatsvc.v2"]) as ws:
        rendered = int(more.partition("=")[2] or 0)
        asked = {"read": reply, "render": "html", "rendered": rendered}
        await ws.send_json(asked)
        while not frames or frames[-1]["data"] != "[DONE]":
            frames.append(await ws.receive_json(timeout=20))
    return frames_data(reply, frames)


READERS: dict[str, Callable[[Chat, str, str], Coroutine[Any, Any, Found]]] = {
    "sse": by_sse,
    "post": by_post,
    "ndjson": by_ndjson,
    "socket": by_socket,
}


def page_of(found: Found) -> Page:
    page = Page()
    for event in found:
        if event["type"] == "block":
            page.apply(event)
    return page


def text_of(found: Found) -> str:
    return "".join(event["text"] for event in found if event["type"] == "delta")


async def body_of(chat: Chat, reply: str) -> str:
    """The reply's HTML as `text/html` has it, without the places of the blocks."""
    page = (await chat.raw(f"GET /api/chat/{reply}", HTML)).body.decode()
    return without_ends(page.partition("<body>\n")[2].partition("</body>")[0])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render as often as there is anything new."""
    monkeypatch.setattr(rendered_reply, "INTERVAL_S", 0.0)
    monkeypatch.setattr(rendered_reply, "SHARE", 0)


def piecewise(text: str, size: int = 3) -> Scripted:
    """A backend that gives a text in pieces, each when what was before it has been read."""
    pieces = [text[i : i + size] for i in range(0, len(text), size)]

    class Slow(Scripted):
        async def __call__(self, messages: list[dict[str, str]]) -> Any:
            for piece in pieces:
                yield piece
                await asyncio.sleep(0.001)

    return Slow()


@pytest.mark.parametrize("how", READERS)
async def test_the_blocks_are_those_of_the_whole_reply_as_html(how: str) -> None:
    async with inside(Settings(pace=0), backend=piecewise(TEXT)) as chat:
        reply = await chat.start("x")
        found = await READERS[how](chat, reply, "")
        assert text_of(found) == TEXT
        assert page_of(found).html == await body_of(chat, reply)
        assert found[-1]["type"] == "end"
        late = await READERS[how](chat, reply, "")
        assert page_of(late).html == await body_of(chat, reply)
        assert sum(event["type"] == "block" for event in late) == 7
        assert not any("close" in event or "keep" in event for event in late)


@pytest.mark.usefixtures("quick")
async def test_the_open_block_is_there_and_changes() -> None:
    gate, rest = asyncio.Event(), asyncio.Event()
    backend = Scripted("# One\n\ntwo **thr", gate, "ee** `xy", rest, "`")
    async with inside(Settings(pace=0), backend=backend) as chat:
        url = f"{chat.url}/api/chat/{await chat.start('x')}?{QUERY}"
        async with chat.session.get(url) as stream:

            async def block() -> dict[str, Any]:
                async for line in stream.content:
                    if line.startswith(b'data: {"type":"block"'):
                        found: dict[str, Any] = json.loads(line[6:])
                        return found
                raise EOFError

            async with asyncio.timeout(20):
                assert await block() == {
                    "type": "block",
                    "from": 0,
                    "to": 7,
                    "html": '<h1 dir="auto">One</h1>\n',
                }
                assert await block() == {
                    "type": "block",
                    "from": 7,
                    "to": 15,
                    "html": '<p dir="auto">two <strong>th',
                    "close": "</strong></p>",
                }
                gate.set()
                assert await block() == {
                    "type": "block",
                    "from": 7,
                    "to": 23,
                    "keep": 28,
                    "html": "ree</strong> <code>x",
                    "close": "</code></p>",
                }
                rest.set()
                assert await block() == {
                    "type": "block",
                    "from": 7,
                    "to": 25,
                    "keep": 48,
                    "html": "y</code></p>\n",
                }


@pytest.mark.usefixtures("quick")
async def test_a_block_follows_the_text_that_it_shows() -> None:
    async with inside(Settings(pace=0), backend=piecewise(TEXT * 3)) as chat:
        found = await by_sse(chat, await chat.start("x"), "")
    read = 0
    for event in found:
        if event["type"] == "delta":
            read += len(event["text"])
        elif event["type"] == "block":
            assert event["from"] <= event["to"] <= read


@pytest.mark.usefixtures("quick")
async def test_a_client_that_comes_back_anywhere_has_the_same_at_the_end() -> None:
    async with inside(Settings(pace=0), backend=piecewise(TEXT)) as chat:
        reply = await chat.start("x")
        whole = await by_sse(chat, reply, "")
        body = await body_of(chat, reply)
        for cut in range(1, len(whole), 3):
            page, after, last = page_of(whole[:cut]), "@0", 0
            for event in whole[:cut]:
                after = event.get("id", after)
                last = event.get("from", last)
            rest = await by_sse(chat, reply, f"&after={after}&rendered={last}")
            blocks = [event for event in rest if event["type"] == "block"]
            assert "keep" not in blocks[0]
            for event in blocks:
                page.apply(event)
            assert page.html == body


async def test_finished_blocks_are_not_sent_again() -> None:
    async with inside(Settings(pace=0), backend=Scripted("a\n\nb\n\nc")) as chat:
        reply = await chat.start("x")
        for rendered, first in (("0", 0), ("2", 0), ("3", 3), ("4", 3), ("900", 6)):
            found = await by_sse(chat, reply, f"&rendered={rendered}")
            blocks = [event for event in found if event["type"] == "block"]
            assert blocks[0]["from"] == first
            assert [block["from"] for block in blocks] == [
                place for place in (0, 3, 6) if place >= first
            ]


async def test_readers_of_one_reply_share_one_rendering() -> None:
    async with inside(Settings(pace=0), backend=piecewise(TEXT)) as chat:
        renderer, asked = chat.app[RENDERER], list[str]()
        render = renderer.render_blocks

        async def counted(one: Asked, client: str) -> Answered:
            asked.append(one.text)
            return await render(one, client)

        renderer.render_blocks = counted  # type: ignore
        reply = await chat.start("x")
        readings = [by_sse(chat, reply, "") for _ in range(5)]
        pages = [page_of(found).html for found in await asyncio.gather(*readings)]
        assert set(pages) == {await body_of(chat, reply)}
        assert len(asked) == len({(text, i) for i, text in enumerate(asked)})
        alone = len(asked)
        assert alone < 40  # about one for every tenth of a second
        await eventually(lambda: not chat.app[RENDERED]._replies)
        await chat.read(reply, "?view=parts")
        assert len(asked) == alone  # nobody has asked for blocks


@pytest.mark.parametrize(
    ("last", "state"), [(BackendFailed("no"), "failed"), (None, "stopped")]
)
async def test_a_reply_that_does_not_come_to_its_end_has_its_last_block(
    last: BaseException | None, state: str
) -> None:
    never = asyncio.Event()
    backend = Scripted("a\n\n**b c", last or never)
    async with inside(Settings(pace=0), backend=backend) as chat:
        reply = await chat.start("x")
        reading = asyncio.create_task(by_sse(chat, reply, ""))
        if last is None:
            held = await chat.replies.open(reply)
            await eventually(lambda: held.readers and held.released_now() >= 7)
            await chat.json("POST", f"/api/chat/{reply}/stop")
        found = await asyncio.wait_for(reading, 20)
        assert found[-1]["state"] == state
        assert "**b" in found[-2]["html"] and "close" not in found[-2]
        assert page_of(found).html == await body_of(chat, reply)


async def test_an_empty_reply_has_no_blocks() -> None:
    async with inside(Settings(pace=0), backend=Scripted()) as chat:
        found = await by_sse(chat, await chat.start("x"), "")
        assert [event["type"] for event in found] == ["end"]


async def test_where_nothing_can_be_rendered_the_text_is_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendered_reply, "RETRY_S", 0.0)
    async with inside(Settings(pace=0), backend=Scripted("a **b**")) as chat:

        async def refuse(asked: Asked, client: str) -> Answered:
            raise Overloaded("Too many.")

        chat.app[RENDERER].render_blocks = refuse  # type: ignore
        found = await by_sse(chat, await chat.start("x"), "")
        assert page_of(found).html == '<pre dir="auto"><code>a **b**</code></pre>\n'


async def test_a_node_that_has_much_html_gives_plain_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendered_reply, "MAX_SIZE", 20)
    gate = asyncio.Event()
    backend = Scripted("a **b** c d\n\nxy **e", gate, "**\n\nf")
    async with inside(Settings(pace=0), backend=backend) as chat:
        reply = await chat.start("x")
        reading = asyncio.create_task(by_sse(chat, reply, ""))
        await eventually(
            lambda: any(
                one.text.blocks[1:] for one in chat.app[RENDERED]._replies.values()
            )
        )
        gate.set()
        html = page_of(await reading).html
        assert html.startswith('<p dir="auto">a <strong>b</strong> c d</p>')
        assert html.endswith('<pre dir="auto"><code>xy **e**\n\nf</code></pre>\n')


async def test_readers_that_are_sent_away_wait_for_no_block() -> None:
    never = asyncio.Event()
    async with inside(Settings(pace=0), backend=Scripted("a **b", never)) as chat:
        reply = await chat.start("x")
        held = await chat.replies.open(reply)
        reading = asyncio.create_task(by_sse(chat, reply, ""))
        await eventually(lambda: held.readers)
        chat.send_readers_away()
        found = await asyncio.wait_for(reading, 10)
        assert not any(event["type"] == "end" for event in found)
        never.set()


async def test_a_share_link_has_its_token_in_the_ids() -> None:
    async with inside(Settings(pace=0), backend=Scripted("a[^1]\n\n[^1]: b")) as chat:
        reply = await chat.start("x")
        await chat.read(reply)
        token = json.loads((await chat.raw(f"POST /api/chat/{reply}/share")).body)[
            "token"
        ]
        answer = await chat.raw(f"GET /api/shared/{token}?{QUERY}")
        assert f'id="fnref-{token}-1"' in page_of(sse_data(answer.body)).html
        assert reply.encode() not in answer.body


async def test_a_slow_reader_is_not_written_to_without_end() -> None:
    text = "word **bold** word\n\n" * 8000
    async with inside(
        Settings(pace=0), backend=Scripted(text), send_buffer=8192
    ) as chat:
        reply = await chat.start("x")
        reader, writer = await chat.connect(f"GET /api/chat/{reply}?{QUERY}")
        await eventually(lambda: chat.buffers and max(chat.buffers) > 60_000)
        await asyncio.sleep(0.2)
        assert max(chat.buffers) < 300_000
        body = b""
        async with asyncio.timeout(60):
            while b"[DONE]" not in body[-20:]:
                body += await reader.read(1 << 16)
        assert body.count(b'{"type":"block"') >= 8000
        writer.close()


async def test_what_asks_for_blocks_wrongly_is_refused(chat: Inside) -> None:
    reply = await chat.start("x")
    url = f"GET /api/chat/{reply}"
    for query, word, *headers in (
        ("view=parts&render=pdf", b"render"),
        ("render=html", b"view=parts"),
        (QUERY, b"stream", "Accept: application/json"),
        (f"{QUERY}&rendered=-1", b"rendered"),
        (f"{QUERY}&rendered=x", b"rendered"),
    ):
        answer = await chat.raw(f"{url}?{query}", *headers)
        assert answer.status == 422 and word in answer.body, query
    for protocol, frame in (
        ("chatsvc.v1", {"read": reply, "render": "html"}),
        ("chatsvc.v2", {"read": reply, "render": "pdf"}),
        ("chatsvc.v2", {"message": "x", "render": "html", "rendered": -1}),
    ):
        address = chat.url + "/ws/chat"
        async with chat.session.ws_connect(address, protocols=[protocol]) as ws:
            await ws.send_json(frame)
            message = await ws.receive(timeout=10)
            assert message.type is WSMsgType.TEXT
            failed = json.loads(message.data)
            assert failed["event"] == "failed"
            assert failed["data"]["type"] == "/problems/invalid-request"


async def test_nobody_who_does_not_ask_gets_blocks(chat: Inside) -> None:
    reply = await chat.start("# a")
    for query in ("?view=parts", "", "?rendered=5&view=parts"):
        answer = await chat.read(reply, query)
        assert answer.status == 200 and b"block" not in answer.body
    assert not chat.app[RENDERER].pids()


def mixed(size: int) -> str:
    """Markdown as a model writes it, of about so many characters."""
    chance, found = Random(19), list[str]()
    prose = [
        """The scheduler takes turns between the queues, so a client who asks for **much more** than the
others can't slow them down, and nobody needs to set a limit by hand. In practice you will want to measure
first: `fair_queue` costs about two microseconds per item, which is *almost* nothing.""",
        "这个方法的核心思想很简单：每个请求都有自己的队列，调度器轮流处理它们。**注意：**请先测量，再决定是否需要它。",
        """When a node restarts, readers come back by their cursor, see [the protocol](https://example.com/a),
and nothing is lost. There is one exception (explained below), and it matters on several nodes only.""",
    ]
    prose = [text.replace("\n", " ") for text in prose]
    code = (
        "```python\nasync def main(count: int = 3) -> None:\n    for task in tasks[:count]:\n"
        '        result = await task\n        print(f"got {result}")\n```'
    )
    others = [
        code,
        "## What can go wrong",
        "- **Fast**: it starts in a third of a second.\n- Each node can be replaced.\n- Ready.",
        "1. Run `step --number 1` and wait until it says *ready*.\n2. Run the next.",
        "| Option | Default | Meaning |\n|---|---|---|\n| `--a` | 10 | how many there may be |\n| `--b` | 2 | why |",
        "The mean is $\\bar{x} = \\frac{1}{n}\\sum x_i$, as usual.",
    ]
    while sum(map(len, found)) < size:
        is_prose = chance.random() < 0.55
        found.append(
            " ".join(chance.choices(prose, k=2)) if is_prose else chance.choice(others)
        )
    return "\n\n".join(found)


async def test_a_stream_with_blocks_is_at_most_three_times_the_text() -> None:
    text = mixed(50_000)
    size = len(text.encode())
    async with inside(Settings(pace=0), backend=piecewise(text, 50)) as chat:
        reply = await chat.start("x")
        growing = (await chat.raw(f"GET /api/chat/{reply}?{QUERY}")).body
        whole = (await chat.raw(f"GET /api/chat/{reply}?{QUERY}")).body
    for body in growing, whole:
        events = without_comments(body).split(b"\n\n")
        blocks = [event for event in events if event.startswith(b'data: {"type":"bl')]
        assert sum(map(len, blocks)) < 2 * size
    assert len(whole) < 3 * size
