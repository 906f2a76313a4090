"""A small service that follows PROTOCOL.md, with faults on demand; and a proxy that cuts.

The tests of the client need a server that loses answers, cuts streams and refuses requests. The
real service does not do that on demand.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import regex
from aiohttp import WSMsgType, web
from yarl import URL

from .loopback import listening

ID = "AAAAAAAAAAAAAAAAAAAAAA"


class Service:
    """A service with one reply, whose text is `text` and whose state in the end is `state`.

    `refuse` holds the statuses and headers with which the first requests are refused. While `hold`
    is clear, no reply ends.
    """

    def __init__(self, text: str, state: str = "done") -> None:
        self.characters: list[str] = regex.findall(r"\X", text)
        self.text = text
        self.state = state
        self.refuse: list[tuple[int, dict[str, str]]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.started: list[object] = []
        self.keys: set[str] = set()
        self.seen: list[str] = []
        self.stopped = asyncio.Event()
        self.running = asyncio.Event()
        self.upgraded = asyncio.Event()
        self.sse_type = "text/event-stream"
        self.ndjson_type = "application/x-ndjson"
        self.stamps: list[int] = [1790000000000]
        self.retry: int | None = None

    def app(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application()
        app.router.add_post("/api/chat", self.post)
        app.router.add_get("/api/chat/{reply}", self.get)
        app.router.add_post("/api/chat/{reply}/stop", self.stop)
        app.router.add_get("/ws/chat", self.websocket)
        return app

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.start(request.headers["Idempotency-Key"], body)
        return await self.answer(request, 0)

    def start(self, key: str, body: object) -> None:
        if key not in self.keys:
            self.keys.add(key)
            self.started.append(body)

    async def get(self, request: web.Request) -> web.StreamResponse:
        assert request.match_info["reply"] == ID
        if request.query["after"].startswith("@"):  # as one that knows no parts
            return web.json_response(
                {"type": "/problems/bad-cursor", "title": "No", "detail": "no number"},
                status=400,
                content_type="application/problem+json",
            )
        return await self.answer(request, int(request.query["after"]))

    async def stop(self, request: web.Request) -> web.Response:
        assert request.match_info["reply"] == ID
        self.stopped.set()
        return web.json_response({"reply": ID, "state": "stopped", "next": 0})

    def problem(self) -> dict[str, object]:
        return {
            "type": "/problems/backend-failed",
            "title": "The model failed",
            "status": 502,
            "detail": "it broke off",
        }

    async def answer(self, request: web.Request, after: int) -> web.StreamResponse:
        accept = request.headers["Accept"]
        self.seen.append(f"{request.method} {accept}")
        if self.refuse:
            status, headers = self.refuse.pop(0)
            if status == 204:
                return web.Response(status=204)
            return web.json_response(
                {"type": "/problems/x", "title": "No", "detail": "not now"},
                status=status,
                headers=headers,
                content_type="application/problem+json",
            )
        if accept == "application/json":
            return self.snapshot(after)
        response = web.StreamResponse(
            headers={
                "Content-Type": (
                    self.sse_type
                    if accept == "text/event-stream"
                    else self.ndjson_type
                    if accept == "application/x-ndjson"
                    else "text/plain; charset=utf-8"
                ),
                "X-Reply-Id": ID,
            }
        )
        await response.prepare(request)
        self.running.set()
        if accept == "text/plain":
            await response.write(self.text[after:].encode())
            await self.hold.wait()
            if self.state == "failed":
                assert request.transport is not None
                request.transport.abort()
            return response
        if accept == "application/x-ndjson":
            for frame in self.frames(after):
                await response.write(json.dumps(frame).encode() + b"\n")
            await self.hold.wait()
            for frame in self.last_frames():
                await response.write(json.dumps(frame).encode() + b"\n")
            return response
        # All in one, as a proxy that buffers gives what was written apart.
        stamps = "".join(f": t={stamp}\n\n" for stamp in self.stamps)
        await response.write(stamps.encode())
        if self.retry is not None:
            await response.write(f"retry: {self.retry}\n\n".encode())
        position = 0
        for character in self.characters:
            position += len(character)
            if position > after:
                lines = "".join(f"data: {x}\n" for x in character.split("\n"))
                await response.write(f"id: {ID}:{position}\n{lines}\n".encode())
        await self.hold.wait()
        if self.state != "done":
            data = json.dumps(self.problem())
            await response.write(
                f"id: {ID}:end\nevent: {self.state}\ndata: {data}\n\n".encode()
            )
        await response.write(f"id: {ID}:end\ndata: [DONE]\n\n".encode())
        return response

    def frames(self, after: int) -> list[dict[str, object]]:
        """The frames of the text behind a position, as `chatsvc.v1` has them."""
        found: list[dict[str, object]] = []
        position = 0
        for character in self.characters:
            position += len(character)
            if position > after:
                found.append({"id": f"{ID}:{position}", "data": character})
        return found

    def last_frames(self) -> list[dict[str, object]]:
        """The frames that say how the reply ended."""
        done: dict[str, object] = {"id": f"{ID}:end", "data": "[DONE]"}
        if self.state == "done":
            return [done]
        return [
            {"event": self.state, "id": f"{ID}:end", "data": self.problem()},
            done,
        ]

    def snapshot(self, after: int) -> web.Response:
        """Return at most three code points, so that a poll needs several requests."""
        end = min(len(self.text), after + 3)
        whole = end == len(self.text) and self.hold.is_set()
        return web.json_response(
            {
                "reply": ID,
                "state": self.state if whole else "running",
                "finish_reason": "error" if self.state == "failed" else "stop",
                "after": after,
                "text": self.text[after:end],
                "next": end,
            }
        )

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        self.seen.append("WS")
        self.upgraded.set()
        socket = web.WebSocketResponse(protocols=("chatsvc.v1",), compress=False)
        await socket.prepare(request)
        message = await socket.receive()
        if (
            message.type is not WSMsgType.TEXT
        ):  # The connection was cut before the first request.
            return socket
        frame = json.loads(message.data)
        after = frame.get("after", 0)
        if "read" not in frame:
            self.start(frame["key"], {"message": frame["message"]})
        for sent in self.frames(after):
            await socket.send_json(sent)
        await self.hold.wait()
        for sent in self.last_frames():
            await socket.send_json(sent)
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[URL]:
    """Serve `app` on a free port until the block ends; yield its URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, port = runner.addresses[0][:2]
    try:
        yield URL(f"http://127.0.0.1:{port}/")
    finally:
        await runner.cleanup()


class CuttingProxy:
    """A proxy that cuts a connection after a number of bytes from the server.

    `cuts` has one number for each connection, in the order in which they are made. A connection is
    not cut if its number is None or if the list is used up. For the server a cut is a reset.
    `lengths` counts the bytes that were passed on over each connection.
    """

    def __init__(self, to: URL, cuts: list[int | None]) -> None:
        self.to, self.cuts = to, cuts
        self.lengths: list[int] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[URL]:
        """Listen on a free port until the block ends; yield the URL."""
        async with listening(self._serve) as port:
            yield URL(f"http://127.0.0.1:{port}/")

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        cut = self.cuts.pop(0) if self.cuts else None
        upstream_reader, upstream = await asyncio.open_connection(
            self.to.host, self.to.port
        )
        index = len(self.lengths)
        self.lengths.append(0)

        async def up() -> None:
            while data := await reader.read(65536):
                upstream.write(data)

        sending = asyncio.create_task(up())
        try:
            while data := await upstream_reader.read(65536):
                left = None if cut is None else cut - self.lengths[index]
                passed = data if left is None else data[:left]
                self.lengths[index] += len(passed)
                writer.write(passed)
                await writer.drain()
                if cut is not None and self.lengths[index] >= cut:
                    break
        except ConnectionError:
            pass
        finally:
            sending.cancel()
            upstream.transport.abort()
            writer.close()
