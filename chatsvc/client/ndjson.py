"""The transport `ndjson`: a reply as lines of JSON, each a frame of a WebSocket.

The media type is `application/x-ndjson` (PROTOCOL.md section 2); the lines are the frames of
section 4. The last line is that of `[DONE]`: a body that ends without it was cut.
"""

from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.events import FrameInterpreter
from chatsvc.client.reading import Step
from chatsvc.client.signals import Attached, Broken, LastSignal, Signal
from chatsvc.client.wire import (
    EVENT_LIMIT_BYTES,
    Question,
    broken_signal,
    refusal_signals,
    send_step,
)

MEDIA_TYPE = "application/x-ndjson"
"""The media type of the representation."""

LINE_LIMIT_BYTES = EVENT_LIMIT_BYTES
"""The bytes that a line may have, unless parts are asked for (`Question.limit`)."""


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of one connection."""
    try:
        async with send_step(session, question, step, MEDIA_TYPE) as response:
            if response.status != 200:
                async for signal in refusal_signals(response):
                    yield signal
                return
            if response.content_type != MEDIA_TYPE:
                came = f"{response.content_type} came in place of lines of JSON"
                yield Broken(came, switch=True)
                return
            if reply := response.headers.get("X-Reply-Id"):
                yield Attached(reply)
            frames, rest = FrameInterpreter(), bytearray()
            while chunk := await response.content.readany():
                lines: list[bytearray] = []
                rest += chunk
                if b"\n" in chunk:
                    *lines, rest = rest.split(b"\n")
                if len(rest) > question.limit:
                    yield Broken("a line is too long", switch=True)
                    return
                for line in filter(bytearray.strip, lines):
                    for signal in frames.signals(bytes(line)):
                        yield signal
                        if isinstance(signal, LastSignal):
                            return
            yield Broken("the body ended too early")
    except (aiohttp.ClientError, OSError) as error:
        yield broken_signal(error)
