"""Reads a reply over a WebSocket, subprotocol `chatsvc.v1` (PROTOCOL.md section 4)."""

import asyncio
import json
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.reading import Step
from chatsvc.client.signals import Broken, Ended, Refused, Signal
from chatsvc.client.sse import EventInterpreter
from chatsvc.client.wire import Question, broken, problem_of
from chatsvc.eventstream import Event
from chatsvc.retry_after import retry_after

_RETRIED_STATUS = (429, 503)
_RETRIED_CLOSE = {
    1012: "the server restarts",
    1013: "the server has no room",
    4429: "too many requests",
}
_HEARTBEAT = 15.0  # seconds between our own pings, which find a dead connection


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Give the signals of one connection."""
    url = question.base.joinpath("ws/chat")
    try:
        async with asyncio.timeout(question.patience.headers):
            socket = await session.ws_connect(
                url, protocols=("chatsvc.v1",), heartbeat=_HEARTBEAT
            )
    except TimeoutError:
        yield Broken("no WebSocket came in time", leave=True)
        return
    except aiohttp.WSServerHandshakeError as error:
        what = f"the WebSocket was refused with {error.status}"
        if error.status in _RETRIED_STATUS:
            after = error.headers.get("Retry-After") if error.headers else None
            yield Refused(problem_of(None, error.status, ""), retry_after(after) or 0.0)
        elif question.wary or error.status >= 500:
            yield Broken(what, leave=True)
        else:
            yield Refused(problem_of({"title": what}, error.status, ""))
        return
    except (aiohttp.ClientError, OSError) as error:
        yield broken(error)
        return
    try:
        if step.reply is None:
            await socket.send_json({**question.body, "key": question.key})
        else:
            await socket.send_json({"read": step.reply, "after": step.after})
        async for signal in _frames(socket):
            yield signal
    except (aiohttp.ClientError, OSError) as error:
        yield broken(error)
    finally:
        # No closing handshake is waited for: the peer may be gone or slow.
        await asyncio.shield(_close(socket))


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    try:
        async with asyncio.timeout(0.5):
            await socket.close()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return


async def _frames(
    socket: aiohttp.ClientWebSocketResponse,
) -> AsyncGenerator[Signal, None]:
    events = EventInterpreter()
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            code = socket.close_code
            if code in _RETRIED_CLOSE:
                problem = problem_of({"title": _RETRIED_CLOSE[code]}, 503, "")
                yield Refused(problem, 0.0)
            elif code is not None and (4000 <= code < 5000 or code in (1003, 1009)):
                title = str(message.extra or f"the server closed with {code}")
                yield Refused(problem_of({"title": title}, code, ""))
            else:
                yield Broken("the WebSocket closed too early")
            return
        try:
            frame = json.loads(message.data)
        except ValueError:
            frame = None
        if not isinstance(frame, dict):
            yield Broken("a frame came that is no JSON object", leave=True)
            return
        data, cursor = frame.get("data"), str(frame.get("id") or "")
        kind = str(frame.get("event") or "message")
        if kind == "failed" and ":" not in cursor:
            # No place in a reply: the request failed, and no `[DONE]` will follow.
            problem = problem_of(data, 0, "")
            yield Refused(problem, 0.0 if problem.status in _RETRIED_STATUS else None)
            return
        text = data if isinstance(data, str) else json.dumps(data)
        for signal in events.signals(Event(text, kind, cursor)):
            yield signal
            if isinstance(signal, Ended | Broken):
                return
