"""The usual Python server: FastAPI with sse-starlette on uvicorn (uvloop, httptools).

usage: sse_starlette_app.py PORT PACE_MS (0: yields after each event)
"""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sse_starlette.sse import EventSourceResponse

PORT, PACE = int(sys.argv[1]), float(sys.argv[2]) / 1000
app = FastAPI()


class Chat(BaseModel):
    message: str


@app.post("/api/chat")
async def chat(body: Chat):
    async def events():
        for i, ch in enumerate(body.message):
            if i:
                await asyncio.sleep(PACE)
            yield {"data": ch}
        yield {"data": "[DONE]"}

    return EventSourceResponse(events(), sep="\n")


uvicorn.run(
    app,
    host="127.0.0.1",
    port=PORT,
    loop="uvloop",
    http="httptools",
    backlog=4096,
    access_log=False,
    log_level="warning",
)
