"""Real clients, each exact for what clients get wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import httpx
import httpx_sse
import pytest
import websockets

from chatsvc.client.reader import TRANSPORTS
from chatsvc.settings import Settings

from ..conftest import require
from .running import HARD, Inside, characters, inside

pytestmark = pytest.mark.any_store

BODY = json.dumps({"message": HARD})


@pytest.fixture(params=[0, 0.001], ids=["at once", "paced"])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[Inside]:
    async with inside(Settings(pace=request.param)) as service:
        yield service


async def run(*command: str, text: str = "") -> str:
    """What a program writes."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(text.encode()), 30)
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_curl(chat: Inside) -> None:
    require("curl")
    asks = ("curl", "-sSN", "--compressed", "--json", BODY, chat.url + "/api/chat")
    assert await run(*asks, "-H", "Accept: text/plain") == HARD
    assert await run(*asks, "-H", "Accept: text/plain", "--http1.0") == HARD
    whole = json.loads(await run(*asks, "-H", "Accept: application/json"))
    assert whole["text"] == HARD


async def test_httpx_sse(chat: Inside) -> None:
    got = []
    async with (
        httpx.AsyncClient() as client,
        httpx_sse.aconnect_sse(
            client, "POST", chat.url + "/api/chat", json={"message": HARD}
        ) as source,
    ):
        async for event in source.aiter_sse():
            got.append(event.data)
            last = event.id
    assert got == [*characters(HARD), "[DONE]"]
    assert last.endswith(":end")


async def test_websockets(chat: Inside) -> None:
    url = f"ws://{chat.host}:{chat.port}/ws/chat"
    async with websockets.connect(url, compression="deflate") as socket:
        for _ in range(2):
            await socket.send(BODY)
            got = []
            while (frame := await socket.recv()) != "[DONE]":
                got.append(frame)
            assert got == characters(HARD)
        await socket.send("{")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    async with websockets.connect(
        url, subprotocols=[websockets.Subprotocol("chatsvc.v1")]
    ) as socket:
        await socket.send(BODY)
        data = ""
        while (event := json.loads(await socket.recv()))["data"] != "[DONE]":
            data += event["data"]
        assert data == HARD


# The loop of the page that came with the original server, with what its parser can't do noted: it takes each line
# that begins with `data: ` for a character, so a newline, two empty `data:` lines, is none to it.
ORIGINAL = """
const [url, message] = process.argv.slice(2);
const response = await fetch(url, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ message }),
});
const reader = response.body.getReader();
const decoder = new TextDecoder();
let buffer = "", text = "", done = false;
while (!done) {
  const { done: over, value } = await reader.read();
  if (over) break;
  buffer += decoder.decode(value, { stream: true });
  const lines = buffer.split("\\n");
  buffer = lines.pop();
  for (const line of lines) {
    if (!line.startsWith("data: ")) continue;
    const data = line.slice(6);
    if (data === "[DONE]") { done = true; break; }
    text += data;
  }
}
process.stdout.write(JSON.stringify({ text, done }));
"""

# [WHATWG HTML 9.2] as a page does it with fetch, so that newlines come out too.
STANDARD = """
const [url, message] = process.argv.slice(2);
const response = await fetch(url, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ message }),
});
let buffer = "", text = "", done = false;
for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
  buffer += piece;
  const events = buffer.split("\\n\\n");
  buffer = events.pop();
  for (const event of events) {
    const data = event.split("\\n").filter((line) => line.startsWith("data:"))
      .map((line) => line.slice(5).replace(/^ /, ""));
    if (!data.length) continue;
    if (data.join("\\n") === "[DONE]") done = true;
    else text += data.join("\\n");
  }
}
process.stdout.write(JSON.stringify({ text, done }));
"""


@pytest.mark.sampled
@pytest.mark.parametrize("query", ["", "?ids=0"])
async def test_the_originals_fetch_loop(chat: Inside, query: str) -> None:
    require("node")
    url = chat.url + "/api/chat" + query
    node = ("node", "--input-type=module", "-", url, HARD)
    got = json.loads(await run(*node, text=ORIGINAL))
    assert got == {"text": HARD.replace("\n", ""), "done": True}
    got = json.loads(await run(*node, text=STANDARD))
    assert got == {"text": HARD, "done": True}


async def test_ask() -> None:
    """The project's own client, over each of its transports."""

    async with inside(Settings(pace=0)) as chat:
        for transport in TRANSPORTS:
            got = await run(
                *(sys.executable, "-m", "chatsvc", "ask", "-", "--url", chat.url),
                *("--transport", transport),
                text=HARD,
            )
            assert got.rstrip("\n") == HARD.rstrip("\n")
