"""The obvious aiohttp server, on uvloop: a task and a sleep per stream, one write per character.

It serves SSE and WebSockets. usage: plain_aiohttp.py PORT PACE_MS (0: yields after each event)
"""

import asyncio
import sys

import uvloop
from aiohttp import web

PORT, PACE = int(sys.argv[1]), float(sys.argv[2]) / 1000


async def characters(message):
    for i, ch in enumerate(message):
        if i:
            await asyncio.sleep(PACE)
        yield ch


async def chat(request):
    message = (await request.json())["message"]
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    async for ch in characters(message):
        await response.write(f"data: {ch}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def chat_ws(request):
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for frame in ws:
        async for ch in characters(frame.json()["message"]):
            await ws.send_str(ch)
        await ws.send_str("[DONE]")
    return ws


app = web.Application()
app.router.add_post("/api/chat", chat)
app.router.add_get("/ws/chat", chat_ws)
web.run_app(
    app,
    host="127.0.0.1",
    port=PORT,
    loop=uvloop.new_event_loop(),
    access_log=None,
    print=None,
    backlog=4096,
)
