"""What many write in Python: FastAPI, the openai client and a StreamingResponse, on uvicorn.

usage: fastapi_openai_app.py PORT URL (the model's server, without /v1)
"""

import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

PORT, URL = int(sys.argv[1]), sys.argv[2]
client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
app = FastAPI()


@app.post("/v1/chat/completions")
async def chat(request: Request):
    messages = (await request.json())["messages"]
    chunks = await client.chat.completions.create(
        model="m", messages=messages, stream=True
    )

    async def events():
        async for chunk in chunks:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


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
