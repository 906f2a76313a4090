"""The process of the innocents, and of the model's server that answers them.

`python -m tests.attack.innocents PACE_S CHATS SECONDS` prints the port of the model's server. Then
each line of its standard input is a command, `PORT SECONDS LENGTH`: chats of LENGTH characters with
the node on PORT for SECONDS, whose `Report` is printed in a line of JSON. It ends with its input,
and after SECONDS in any case.
"""

import asyncio
import json
import random
import sys
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

from .model import PACED, Model
from .texts import innocent

PATIENCE_S = 30.0
"""What a reply may take beside its pace, and any other request in all."""
FRESH_CLIENTS = 3
"""How many clients ask for new short replies, snapshots, pages and `/healthz`."""
FRESH_PAUSE_S = 0.1
WATCH_S = 0.005


@dataclass
class Report:
    """What the innocents noticed. Times are in milliseconds, each a summary by `_summary`.

    - `times`: `gap` between two events of a chat, the end among them; `first` from a request to the
      first character; `short`, `snapshot`, `healthz`, `rendered` of whole new requests.
    - `stalls`: for how long this process itself was held, which is in all of the times.
    - `lost`: why replies are not whole, each with its number; nothing is to be in it.
    """

    replies: int = 0
    characters: int = 0
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    stalls: dict[str, float] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


class Torn(Exception):
    """A reply that is not what was asked for; the message is how."""


def _summary(values: "array[float]") -> dict[str, float]:
    ordered = sorted(values) or [0.0]

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)

    return {
        "p50": at(0.5),
        "p99": at(0.99),
        "max": round(ordered[-1], 1),
        "count": len(values),
    }


class Innocents:
    """The chats with one node until `deadline`, a time of `time.monotonic`."""

    def __init__(
        self,
        port: int,
        deadline: float,
        length: int,
        texts: dict[str, list[str]],
        pace_s: float,
    ) -> None:
        self.report = Report()
        self._url = f"http://127.0.0.1:{port}"
        self._deadline = deadline
        self._length = length
        self._texts = texts
        self._pace_s = pace_s
        self._times: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._lost: Counter[str] = Counter()
        self._source = random.Random()

    async def run(self, chats: int) -> Report:
        """Run the chats, half of them over each transport, and the clients of new requests."""
        watch = asyncio.create_task(self._watch())
        await asyncio.gather(
            *(self._chats(n, n / chats) for n in range(chats)),
            *(self._fresh(n) for n in range(FRESH_CLIENTS)),
        )
        watch.cancel()
        report = self.report
        stalls = self._times.pop("stall", array("d"))
        report.stalls = _summary(stalls)
        report.times = {name: _summary(values) for name, values in self._times.items()}
        report.lost = dict(self._lost)
        return report

    async def _watch(self) -> None:
        while True:
            asked = time.monotonic()
            await asyncio.sleep(WATCH_S)
            self._note("stall", asked + WATCH_S)

    def _note(self, name: str, since: float) -> float:
        now = time.monotonic()
        self._times[name].append(max(0.0, now - since) * 1e3)
        return now

    # ---------------------------------------------------------------------- paced chats

    async def _chats(self, number: int, share: float) -> None:
        # Each at an address of its own, for the node limits what one address has.
        connector = aiohttp.TCPConnector(local_addr=(f"127.0.2.{number % 250 + 1}", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            await self._chat(session, number, share)

    async def _chat(
        self, session: aiohttp.ClientSession, number: int, share: float
    ) -> None:
        await asyncio.sleep(share * self._pace_s * 10)  # not all in the same moment
        follow = self._by_sse if number % 2 else self._by_websocket
        while time.monotonic() < self._deadline:
            characters = innocent(self._length, self._source)
            text = "".join(characters)
            self._texts[text] = characters
            try:
                async with asyncio.timeout(self._length * self._pace_s + PATIENCE_S):
                    await self._whole(follow(session, PACED + text), characters)
                self.report.replies += 1
                self.report.characters += len(characters)
            except (aiohttp.ClientError, OSError, TimeoutError, Torn) as error:
                self._lost[f"{type(error).__name__} {error}"[:300]] += 1
                await asyncio.sleep(0.1)
            finally:
                self._texts.pop(text, None)

    async def _whole(
        self, events: AsyncIterator[tuple[str, str]], characters: list[str]
    ) -> None:
        """Compare events, pairs of a position and a character, with what was asked for."""
        before = time.monotonic()
        position = count = 0
        name = "first"
        async for identity, data in events:
            before = self._note(name, before)
            name = "gap"
            if count == len(characters):
                if (identity, data) != ("end", "[DONE]"):
                    raise Torn("something else for the end")
                count += 1
                continue
            if count > len(characters):
                raise Torn("something behind the end")
            position += len(characters[count])
            if data != characters[count] or identity != str(position):
                raise Torn(f"{data!r} {identity} for {characters[count]!r} {position}")
            count += 1
        if count <= len(characters):
            raise Torn("no end")

    async def _by_sse(
        self, session: aiohttp.ClientSession, message: str
    ) -> AsyncIterator[tuple[str, str]]:
        async with session.post(
            f"{self._url}/api/chat",
            json={"message": message},
            headers={"Accept": "text/event-stream"},
        ) as response:
            if response.status != 200:
                raise Torn(f"status {response.status}")
            rest = b""
            async for piece in response.content.iter_any():
                *blocks, rest = (rest + piece).split(b"\n\n")
                for block in blocks:
                    if not block.startswith(b":"):
                        yield _event(block.decode())
            if rest:
                raise Torn("half an event")

    async def _by_websocket(
        self, session: aiohttp.ClientSession, message: str
    ) -> AsyncIterator[tuple[str, str]]:
        async with session.ws_connect(
            f"{self._url}/ws/chat", protocols=["chatsvc.v1"]
        ) as socket:
            key = f"{self._source.getrandbits(64):x}"
            await socket.send_json({"message": message, "key": key})
            async for got in socket:
                if got.type is not aiohttp.WSMsgType.TEXT:
                    raise Torn(f"a frame {got.type.name}")
                event = got.json()
                if "event" in event:
                    raise Torn(f"event {event['event']}: {event['data'].get('detail')}")
                yield event["id"].partition(":")[2], event["data"]
                if event["id"].endswith(":end"):
                    break

    # ---------------------------------------------------------------------- new requests

    async def _fresh(self, number: int) -> None:
        await asyncio.sleep(number * FRESH_PAUSE_S / FRESH_CLIENTS)
        while time.monotonic() < self._deadline:
            # Each time another client: together they start more in a minute than one may.
            number += FRESH_CLIENTS
            connector = aiohttp.TCPConnector(
                force_close=True, local_addr=(f"127.0.3.{number % 250 + 1}", 0)
            )
            try:
                async with (
                    aiohttp.ClientSession(connector=connector) as session,
                    asyncio.timeout(PATIENCE_S),
                ):
                    await self._ask_all(session)
            except (aiohttp.ClientError, OSError, TimeoutError, Torn) as error:
                self._lost[f"new: {type(error).__name__} {error}"[:300]] += 1
            await asyncio.sleep(FRESH_PAUSE_S)

    async def _ask_all(self, session: aiohttp.ClientSession) -> None:
        chat = "/api/chat"
        await self._ask(session, "healthz", "GET", "/healthz", "")
        short = await self._ask(session, "short", "POST", chat, "hi 👍🏽!")
        if short["text"] != "hi 👍🏽!" or short["state"] != "done":
            raise Torn(f"short {short['state']}")
        path = f"{chat}/{short['reply']}?after=1&wait=0"
        snapshot = await self._ask(session, "snapshot", "GET", path, "")
        if snapshot["text"] != "i 👍🏽!":
            raise Torn("another snapshot")
        hello = await self._ask(session, "short", "POST", chat, "# hello")
        path = f"{chat}/{hello['reply']}"
        page = await self._ask(session, "rendered", "GET", path, "", "text/html")
        if "hello</h1>" not in page:
            raise Torn("another page")

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        name: str,
        method: str,
        path: str,
        message: str,
        accept: str = "application/json",
    ) -> Any:
        """Send a request, note its time, and return its JSON, or its text if that is no JSON."""
        before = time.monotonic()
        async with session.request(
            method,
            self._url + path,
            json={"message": message} if message else None,
            headers={"Accept": accept},
        ) as response:
            text = await response.text()
        self._note(name, before)
        if response.status != 200:
            raise Torn(f"{name}: status {response.status}")
        return json.loads(text) if response.content_type.endswith("json") else text


def _event(block: str) -> tuple[str, str]:
    """Return the position and the data of an event's lines."""
    identity, data = "", []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            identity = value.partition(":")[2]
        elif name == "data":
            data.append(value)
        else:
            raise Torn(f"a field {name} {value}")
    return identity, "\n".join(data)


@asynccontextmanager
async def _lines() -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        yield reader
    finally:
        transport.close()


async def _main(pace_s: float, chats: int, seconds: float) -> None:
    texts: dict[str, list[str]] = {}
    model = Model(pace_s, lambda text: texts.get(text) or list(text))
    async with asyncio.timeout(seconds), model.running() as port, _lines() as lines:
        print(port, flush=True)
        async for line in lines:
            node, duration, length = line.split()
            deadline = time.monotonic() + float(duration)
            innocents = Innocents(int(node), deadline, int(length), texts, pace_s)
            report = await innocents.run(chats)
            print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
