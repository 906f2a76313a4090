"""The transport `websocket`: a reply by `chatsvc.v1` or `chatsvc.v2` (PROTOCOL.md section 4)."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from chatsvc.client.events import FrameInterpreter, parse_problem
from chatsvc.client.reading import Step
from chatsvc.client.retryable import (
    RETRIED_CLOSE_CODES,
    RETRIED_STATUSES,
    is_final_close,
)
from chatsvc.client.signals import Broken, LastSignal, Refused, Signal
from chatsvc.client.wire import Question, broken_signal, key_refusal
from chatsvc.retry_after import retry_after
from chatsvc.settings import variable

_HEARTBEAT_S = (
    15.0  # seconds between the client's own pings, which find a dead connection
)
_PARTS = "chatsvc.v2"
_FRAME_LIMIT_BYTES = 4 << 20  # of one frame of text
_UNAUTHORIZED = 4401  # the close code of a connection whose user's key is good no more
_CLOSE_TIMEOUT_S = 0.5  # seconds for sending the close frame


async def read(
    session: aiohttp.ClientSession, question: Question, step: Step
) -> AsyncGenerator[Signal, None]:
    """Yield the signals of one connection."""
    url = question.base.joinpath("ws/chat")
    try:
        async with asyncio.timeout(question.timeouts.headers):
            socket = await session.ws_connect(
                url,
                protocols=(_PARTS, "chatsvc.v1") if question.parts else ("chatsvc.v1",),
                heartbeat=_HEARTBEAT_S,
                max_msg_size=max(question.limit, _FRAME_LIMIT_BYTES),
            )
    except TimeoutError:
        yield Broken("no WebSocket came in time", switch=True)
        return
    except aiohttp.WSServerHandshakeError as error:
        yield _handshake_signal(error, question)
        return
    except (aiohttp.ClientError, OSError) as error:
        yield broken_signal(error)
        return
    try:
        if step.reply is None:
            await socket.send_json({**question.body, "key": question.key})
        else:
            by_offset = socket.protocol == _PARTS and step.offset is not None
            after = f"@{step.offset}" if by_offset else step.after
            await socket.send_json({"read": step.reply, "after": after})
        frames = FrameInterpreter()
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            for signal in frames.signals(message.data):
                yield signal
                if isinstance(signal, LastSignal):
                    return
        yield _close_signal(socket.close_code, message.extra)
    except (aiohttp.ClientError, OSError) as error:
        yield broken_signal(error)
    finally:
        # No closing handshake is waited for: the peer may be gone or slow. The socket is closed
        # also when the reader is cancelled meanwhile.
        await asyncio.shield(_close(socket))


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await socket.close()
    except (TimeoutError, aiohttp.ClientError, OSError):
        return


def _handshake_signal(
    error: aiohttp.WSServerHandshakeError, question: Question
) -> Signal:
    """Return what a refused upgrade means; aiohttp gives no body of it."""
    if error.status in RETRIED_STATUSES:
        after = error.headers.get("Retry-After") if error.headers else None
        return Refused(parse_problem(None, error.status, ""), retry_after(after) or 0.0)
    what = f"the WebSocket was refused with {error.status}"
    challenge = error.headers.get("WWW-Authenticate", "") if error.headers else ""
    if error.status == 401 and challenge.startswith("Bearer"):
        what = key_refusal(error.request_info.headers)
    if question.has_alternatives or error.status >= 500:
        return Broken(what, switch=True)
    return Refused(parse_problem({"title": what}, error.status, ""))


def _close_signal(code: int | None, reason: object) -> Signal:
    """Return what the end of a WebSocket with this close code and reason means."""
    if code in RETRIED_CLOSE_CODES:
        problem = parse_problem({"title": RETRIED_CLOSE_CODES[code]}, 503, "")
        return Refused(problem, 0.0)
    if code == _UNAUTHORIZED:
        title = f"the key of {variable('api_key')} has been withdrawn"
        return Refused(parse_problem({"title": title}, code, ""))
    if code is not None and is_final_close(code):
        title = str(reason or f"the server closed with {code}")
        return Refused(parse_problem({"title": title}, code, ""))
    return Broken("the WebSocket closed too early")
